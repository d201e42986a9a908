/** Bytes hashed and unpacked off the main thread: what a layer of gigabytes would keep it from everything else with. */

/** A SHA-256 under way. */
export type Sha256 = { readonly __sha256: never };
/** A zstd stream under way. */
export type Unzstd = { readonly __unzstd: never };

export interface UnzstdStep {
  /** Bytes of the input that were used. */
  readonly read: number;
  /** Bytes of the output that were filled. */
  readonly written: number;
  /** Nothing is owed: a frame has ended here, or none has begun. */
  readonly isBetween: boolean;
  /** What is wrong with the bytes, in zstd's words; null = nothing. */
  readonly fault: string | null;
  /** It is wrong only because a frame wants more memory than it may have. */
  readonly wantsMemory: boolean;
}

export interface BytesAddon {
  sha256Open(): Sha256;
  /** Adds the chunks in their order; they are not to be changed until the promise is settled. One call at a time for a hash. */
  sha256Update(hash: Sha256, chunks: readonly Uint8Array[]): Promise<void>;
  /** Lower-case hex digits; the hash is then at its beginning again. */
  sha256Digest(hash: Sha256): string;
  /** @param windowLogMax  what a frame may look back on, as a power of two: 10–31 */
  unzstdOpen(windowLogMax: number): Unzstd;
  /**
   * Unpacks from `input` into `output` until one of them is used up. Neither is to be touched until the promise is settled. One call
   * at a time for a stream. After a fault the stream is of no use.
   */
  unzstdStep(stream: Unzstd, input: Uint8Array, output: Uint8Array): Promise<UnzstdStep>;
}
