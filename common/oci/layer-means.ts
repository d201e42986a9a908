/** How a layer's bytes are hashed and unpacked: by Node's means, or by an agent's, which are quicker (agent/image/means.ts). */
import { createHash } from 'node:crypto';
import { unzstd } from './unzstd.ts';

/** A SHA-256 of what is added, in its order. */
export interface RunningHash {
  /** Adds bytes that nobody changes any more. A promise: to be waited for before more is added. */
  add(bytes: Uint8Array): Promise<void> | undefined;
  /** Lower-case hex digits, once; nothing is added afterwards. */
  digest(): Promise<string>;
}

export interface LayerMeans {
  /** The source may use the memory of what it has yielded again once it is asked for more. */
  readonly isLent: boolean;
  readonly hash: () => RunningHash;
  /** As `unzstd`, with its errors. */
  readonly unzstd: (source: AsyncIterable<Uint8Array>, name: string) => AsyncIterable<Uint8Array>;
}

export const NODE_MEANS: LayerMeans = {
  isLent: false,
  hash: () => {
    const hash = createHash('sha256');
    return {
      add: (bytes) => {
        hash.update(bytes);
        return undefined;
      },
      digest: () => Promise.resolve(hash.digest('hex')),
    };
  },
  unzstd,
};
