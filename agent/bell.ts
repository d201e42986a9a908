/** Wakes one sleeper: rung when something it looks at has changed. A ring while nobody sleeps is kept. */
import type { Clock } from '../common/clock.ts';
import { withResolvers } from '../common/iterate.ts';
import type { Instant } from '../common/model/ids.ts';

export class Bell {
  #rung = false;
  #wake: (() => void) | undefined;

  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Resolves at the next ring, at once if it rang since the last wait; with `until` at that time at the latest. */
  async wait(clock: Clock, until?: Instant): Promise<void> {
    if (!this.#rung) {
      const woken = withResolvers<void>();
      this.#wake = () => woken.resolve();
      const cancel = until === undefined ? undefined : clock.after(until - clock.now(), () => woken.resolve());
      await woken.promise;
      cancel?.();
      this.#wake = undefined;
    }
    this.#rung = false;
  }
}
