/** What builds under way need, counted: nobody may take it for garbage. */
import type { Digest } from '../../common/model/ids.ts';

export class Holds {
  readonly #counts = new Map<Digest, number>();

  has(part: Digest): boolean {
    return this.#counts.has(part);
  }

  /** One build's: what it holds is let go of all at once. */
  hand(): { readonly hold: (part: Digest) => void; readonly release: () => void } {
    const held: Digest[] = [];
    let isOver = false;
    const hold = (part: Digest): void => {
      // A step that another build went on with after this one had ended.
      if (isOver) return;
      held.push(part);
      this.#counts.set(part, (this.#counts.get(part) ?? 0) + 1);
    };
    const release = (): void => {
      isOver = true;
      for (const part of held.splice(0)) this.#letGo(part);
    };
    return { hold, release };
  }

  #letGo(part: Digest): void {
    const count = this.#counts.get(part) ?? 0;
    if (count > 1) this.#counts.set(part, count - 1);
    else this.#counts.delete(part);
  }
}
