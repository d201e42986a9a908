/**
 * Input on its way into a command's terminal. Whoever sends it keeps to a window and hears what was taken, so that no input
 * that the command does not read stands before a resize or the detach keys.
 */
import { withResolvers } from '../../common/iterate.ts';
import type { ExecSession } from '../runtime/exec.ts';

/** Less than the buffers of the way hold; more than a round trip's worth of typing and most of pasting. */
export const INPUT_WINDOW_BYTES = 64 * 1_024;

export class InputWindow {
  #waiting = 0;
  #taken = 0;
  #isOver = false;
  #turn = withResolvers<void>();

  /** Waits for room only where the sender has not kept to the window. */
  async write(session: Pick<ExecSession, 'write'>, bytes: Uint8Array): Promise<void> {
    this.#waiting += bytes.length;
    const written = session.write(bytes).then(() => {
      this.#waiting -= bytes.length;
      this.#taken += bytes.length;
      this.#turn.resolve();
    });
    if (this.#waiting > INPUT_WINDOW_BYTES) await written;
  }

  /** Bytes that were taken since the last answer, for one reader, until `end`. */
  async *takings(): AsyncIterable<number> {
    while (!this.#isOver) {
      this.#turn = withResolvers<void>();
      const taken = this.#taken;
      this.#taken = 0;
      if (taken > 0) yield taken;
      else await this.#turn.promise;
    }
  }

  /** The command writes no more. */
  end(): void {
    this.#isOver = true;
    this.#turn.resolve();
  }
}
