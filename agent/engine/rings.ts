/** Wakes everybody who waits for the next change. */
import { withResolvers } from '../../common/iterate.ts';

export class Rings {
  #next = withResolvers<void>();

  ring(): void {
    const rung = this.#next;
    this.#next = withResolvers<void>();
    rung.resolve();
  }

  /** Resolves at the next ring. */
  async heard(): Promise<void> {
    await this.#next.promise;
  }
}
