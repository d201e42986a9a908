/** A user at the streams of something that runs on a node: a command in a container, or the container's own. */
import { once } from 'node:events';
import { ReadStream, WriteStream } from 'node:tty';
import { ClusterError, toClusterError } from '../common/errors.ts';
import { withResolvers } from '../common/iterate.ts';
import type { covey } from '../proto/messages.ts';
import { DetachKeys, parseDetachKeys } from './detach-keys.ts';
import { ExecInput } from './exec-input.ts';
import { EXIT } from './exit.ts';
import { rawMode, sizeOf } from './terminal.ts';

type Inputs = AsyncIterable<covey.v1.ExecInput.$Properties>;
type Outputs = AsyncIterable<covey.v1.ExecOutput>;

/** What is attached to, and how. */
export interface Attachment {
  readonly start: covey.v1.ExecStart.$Properties;
  /** Has a terminal: decides about keys, sizes and raw mode. */
  readonly tty: boolean;
  readonly detachKeys: string;
  /** The call; with `isHeard` a first answer comes before the start may be said. */
  readonly call: (inputs: Inputs, options: { readonly signal: AbortSignal }) => Outputs;
  readonly isHeard: boolean;
  /** What nobody knows when the way breaks: `how the command ended`. */
  readonly lost: string;
  /** Told each signal that we get, when there is no terminal; absent: an interrupt ends the call. */
  readonly onSignal?: (name: NodeJS.Signals) => Promise<void>;
  readonly onStarted?: () => void;
}

const PROXIED: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'];

/** Its exit code; 0 once the user has left it running. */
export async function attached(attachment: Attachment): Promise<number> {
  const { start, tty } = attachment;
  const keys = tty ? new DetachKeys(parseDetachKeys(attachment.detachKeys)) : undefined;
  const input = new ExecInput(start.stdin ? process.stdin : undefined, keys);
  const stop = new AbortController();
  const releases: (() => void)[] = [];
  const onStarted = (): void => {
    attachment.onStarted?.();
    if (tty && start.stdin && process.stdin instanceof ReadStream) releases.push(rawMode(process.stdin));
    if (tty && process.stdout instanceof WriteStream) releases.push(followSize(process.stdout, input));
  };
  releases.push(hearSignals(attachment, stop));
  try {
    return await follow(attachment, { input, signal: stop.signal, onStarted });
  } catch (cause) {
    if (!stop.signal.aborted) throw cause;
    return EXIT.interrupted;
  } finally {
    input.end();
    for (const release of releases) release();
  }
}

function hearSignals({ tty, onSignal }: Attachment, stop: AbortController): () => void {
  if (onSignal !== undefined && !tty) {
    const listeners = PROXIED.map((name) => {
      const hear = (): void => {
        onSignal(name).catch((cause: unknown) => {
          process.stderr.write(`covey: ${toClusterError(cause).message}\n`);
        });
      };
      process.on(name, hear);
      return () => process.off(name, hear);
    });
    return () => {
      for (const off of listeners) off();
    };
  }
  // Without a terminal of its own, Ctrl-C is ours: the command ends with its call.
  const onInterrupt = (): void => stop.abort(new ClusterError('unavailable', 'interrupted'));
  process.once('SIGINT', onInterrupt);
  return () => process.off('SIGINT', onInterrupt);
}

interface FollowParts {
  readonly input: ExecInput;
  readonly signal: AbortSignal;
  readonly onStarted: () => void;
}

/** Until the first answer another manager may be asked; after it something may have run, so nothing is repeated. */
async function follow(attachment: Attachment, { input, signal, onStarted }: FollowParts): Promise<number> {
  const { start, call, lost, isHeard } = attachment;
  const ready = withResolvers<void>();
  if (!isHeard) ready.resolve();
  let hasBegun = false;
  try {
    for await (const output of call(input.messages(ready.promise, start), { signal })) {
      const { started, stdout, stderr, exit, taken } = output;
      hasBegun = true;
      ready.resolve();
      if (started) {
        // A node that tells of no window tells of nothing taken either.
        input.allow(started.inputWindow > 0 ? started.inputWindow : Number.POSITIVE_INFINITY);
        onStarted();
      }
      if (taken) input.allow(taken);
      if (stdout) await written(process.stdout, stdout);
      if (stderr) await written(process.stderr, stderr);
      if (exit) {
        if (exit.error !== '') process.stderr.write(`covey: ${exit.error}\n`);
        return exit.code;
      }
    }
  } catch (cause) {
    const error = toClusterError(cause);
    if (!hasBegun || error.hint !== undefined || error.code !== 'unavailable') throw cause;
    throw new ClusterError('unavailable', `the manager broke off: ${lost} is not known`, {
      hint: 'see `covey node ls`',
      cause,
    });
  }
  throw new ClusterError('unavailable', `the manager ended the call: ${lost} is not known`, {
    hint: 'see `covey node ls`',
  });
}

async function written(stream: NodeJS.WriteStream, bytes: Uint8Array): Promise<void> {
  if (!stream.write(bytes)) await once(stream, 'drain');
}

function followSize(output: WriteStream, input: ExecInput): () => void {
  const onResize = (): void => {
    const size = sizeOf(output);
    if (size) input.send({ resize: size });
  };
  output.on('resize', onResize);
  return () => output.off('resize', onResize);
}
