/** Waits for a condition with a deadline: the only way in which tests with real clusters wait. */
import { setTimeout as wait } from 'node:timers/promises';

const LOOK_EVERY_MS = 50;
/** How many times longer everything may take: more than once on an emulated processor (test/vm). */
export const PATIENCE = Number(process.env.COVEY_TEST_PATIENCE ?? 1);

/** Asks until the answer is neither undefined nor false. @throws naming `what` after `ms`, with the last error */
export async function until<T>(
  what: string,
  ms: number,
  ask: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<T> {
  const deadline = Date.now() + ms * PATIENCE;
  for (let last: unknown; ; ) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
    } catch (cause) {
      last = cause;
    }
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`, { cause: last });
    await wait(LOOK_EVERY_MS);
  }
}

/** Holds a condition for `ms`: fails at the first look at which it does not hold. */
export async function throughout(what: string, ms: number, holds: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + ms;
  do {
    if (!(await holds())) throw new Error(`did not hold: ${what}`);
    await wait(LOOK_EVERY_MS);
  } while (Date.now() < end);
}
