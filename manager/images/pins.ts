/** Blobs that are in somebody's hands, counted: who collects garbage leaves them alone. */
import type { Digest } from '../../common/model/ids.ts';

export class Pins {
  readonly #counts = new Map<Digest, number>();

  has(digest: Digest): boolean {
    return this.#counts.has(digest);
  }

  /** One hand: what it pins is let go of all at once. */
  hand(): { readonly pin: (digest: Digest) => void; readonly release: () => void } {
    const held: Digest[] = [];
    const pin = (digest: Digest): void => {
      held.push(digest);
      this.#counts.set(digest, (this.#counts.get(digest) ?? 0) + 1);
    };
    const release = (): void => {
      for (const digest of held.splice(0)) this.#unpin(digest);
    };
    return { pin, release };
  }

  #unpin(digest: Digest): void {
    const count = this.#counts.get(digest) ?? 0;
    if (count > 1) this.#counts.set(digest, count - 1);
    else this.#counts.delete(digest);
  }
}
