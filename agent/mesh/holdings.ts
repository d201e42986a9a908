/** Which whole blobs this host gives to others, and what has changed of it: for the managers, who tell the others. */
import type { Digest } from '../../common/model/ids.ts';

export interface HoldingNews {
  readonly have: readonly Digest[];
  readonly gone: readonly Digest[];
}

export class Holdings {
  readonly #listeners = new Set<(news: HoldingNews) => void>();
  #held: ReadonlySet<Digest> = new Set();

  get all(): readonly Digest[] {
    return [...this.#held];
  }

  /** These and no others. */
  set(held: readonly Digest[]): void {
    const before = this.#held;
    this.#held = new Set(held);
    const have = held.filter((digest) => !before.has(digest));
    const gone = [...before].filter((digest) => !this.#held.has(digest));
    if (have.length === 0 && gone.length === 0) return;
    for (const listener of this.#listeners) listener({ have, gone });
  }

  /** Told of each change until the returned function is called. */
  onChange(listener: (news: HoldingNews) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
