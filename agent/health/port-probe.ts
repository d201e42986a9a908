/** Asks from the host whether a container's ports accept connections. */
import { connect } from 'node:net';
import type { Clock } from '../../common/clock.ts';
import { withResolvers } from '../../common/iterate.ts';
import type { Instant } from '../../common/model/ids.ts';
import { backoff } from '../../common/retry.ts';

const FIRST_MS = 5;
const MAX_MS = 250;
/** A connection that takes longer is tried anew: its first packet may have come before the container listened. */
const CONNECT_MS = 1_000;

/** One attempt; false = refused, unreachable or too slow. */
export type Connects = (address: string, port: number, signal: AbortSignal) => Promise<boolean>;

/** Opens a TCP connection and closes it at once. Never rejects. */
export const connects: Connects = async (address, port, signal) => {
  const answer = withResolvers<boolean>();
  const socket = connect({ host: address, port, timeout: CONNECT_MS });
  const onAbort = (): void => answer.resolve(false);
  socket.once('connect', () => answer.resolve(true));
  socket.once('error', () => answer.resolve(false));
  socket.once('timeout', () => answer.resolve(false));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await answer.promise;
  } finally {
    signal.removeEventListener('abort', onAbort);
    // A reset leaves nothing behind: no TIME_WAIT here, no half-read request there.
    socket.resetAndDestroy();
  }
};

export interface PortQuestion {
  readonly address: string;
  readonly ports: readonly number[];
  /** Given up then. */
  readonly until: Instant;
  readonly clock: Clock;
  readonly connects: Connects;
}

/** Resolves to undefined once every port has accepted, or to the first that had not in time. Rejects when aborted. */
export async function waitForPorts(question: PortQuestion, signal: AbortSignal): Promise<number | undefined> {
  const { clock, until } = question;
  for (const port of question.ports) {
    for (let attempt = 1; !(await question.connects(question.address, port, signal)); attempt += 1) {
      signal.throwIfAborted();
      if (clock.now() >= until) return port;
      await clock.sleep(Math.min(backoff(attempt, FIRST_MS, MAX_MS), Math.max(1, until - clock.now())), signal);
    }
  }
  signal.throwIfAborted();
  return undefined;
}
