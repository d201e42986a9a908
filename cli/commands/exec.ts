/** `exec`: one more command in a task's container, wherever it runs. */
import { once } from 'node:events';
import { ReadStream, WriteStream } from 'node:tty';
import type { Command } from 'commander';
import { ClusterError, toClusterError } from '../../common/errors.ts';
import { withResolvers } from '../../common/iterate.ts';
import type { covey } from '../../proto/messages.ts';
import { type ControlClient, withCluster } from '../client.ts';
import { DETACH_KEYS, DetachKeys, parseDetachKeys } from '../detach-keys.ts';
import { ExecInput } from '../exec-input.ts';
import { EXIT } from '../exit.ts';
import { collected } from '../flags/values.ts';
import { rawMode, sizeOf } from '../terminal.ts';

interface ExecFlags {
  readonly interactive?: boolean;
  readonly tty?: boolean;
  readonly env: readonly string[];
  readonly user?: string;
  readonly workdir?: string;
  readonly privileged?: boolean;
  readonly detach?: boolean;
  readonly detachKeys: string;
}

/** Declares the command. */
export function addExecCommand(program: Command): void {
  program
    .command('exec')
    .description('run a command in the container of a running task')
    .argument('<task>', 'id, id prefix, SERVICE.SLOT or SERVICE.SLOT.ID')
    .argument('<command...>', 'command and its arguments')
    .option('-i, --interactive', 'give the command our stdin')
    .option('-t, --tty', 'give the command a terminal')
    .option('-e, --env <KEY=value>', 'set a variable; KEY alone takes our value', collected, [])
    .option('-u, --user <name|uid[:group|gid]>', 'run as this user')
    .option('-w, --workdir <folder>', 'run in this folder')
    .option('--privileged', 'with every capability of the host’s agent')
    .option('-d, --detach', 'start it and return')
    .option('--detach-keys <keys>', 'keys that leave a terminal’s command running', DETACH_KEYS)
    .addHelpText('after', EXIT_CODES)
    .passThroughOptions()
    .action(async (task: string, command: readonly string[], flags: ExecFlags) => {
      process.exitCode = await runExec(startOf(task, command, flags), flags);
    });
}

const EXIT_CODES = `
Exit codes: the command's own, 128 + the signal that killed it, 126 it cannot be run, 127 it does not exist,
1 it could not be started or its end is not known, 2 usage.`;

function startOf(task: string, command: readonly string[], flags: ExecFlags): covey.v1.ExecStart.$Properties {
  const { user, workdir } = flags;
  if (flags.detach && (flags.tty || flags.interactive)) {
    throw new ClusterError('invalid', 'cannot be combined with -i or -t', { field: '--detach' });
  }
  if (flags.tty && flags.interactive && !(process.stdin instanceof ReadStream)) {
    throw new ClusterError('invalid', 'our stdin is no terminal', { field: '--tty', hint: 'leave out -t' });
  }
  const size = process.stdout instanceof WriteStream ? sizeOf(process.stdout) : undefined;
  return {
    task,
    command: [...command],
    env: flags.env.flatMap(variable),
    ...(user === undefined ? {} : { user }),
    ...(workdir === undefined ? {} : { workdir }),
    privileged: flags.privileged ?? false,
    tty: flags.tty ?? false,
    stdin: flags.interactive ?? false,
    detach: flags.detach ?? false,
    ...(flags.tty && size ? { size } : {}),
  };
}

/** As Docker: KEY alone stands for our own value, and for nothing when we have none. */
function variable(text: string): readonly string[] {
  if (/^[^=]+=/.test(text)) return [text];
  if (text.includes('=') || text === '') {
    throw new ClusterError('invalid', 'a variable is not KEY=value', { field: '--env' });
  }
  const value = process.env[text];
  return value === undefined ? [] : [`${text}=${value}`];
}

async function runExec(start: covey.v1.ExecStart.$Properties, flags: ExecFlags): Promise<number> {
  const keys = flags.tty ? new DetachKeys(parseDetachKeys(flags.detachKeys)) : undefined;
  const input = new ExecInput(start.stdin ? process.stdin : undefined, keys);
  const stop = new AbortController();
  const releases: (() => void)[] = [];
  const onStarted = (): void => {
    if (start.tty && start.stdin && process.stdin instanceof ReadStream) releases.push(rawMode(process.stdin));
    if (start.tty && process.stdout instanceof WriteStream) releases.push(followSize(process.stdout, input));
  };
  // Without a terminal of the command's, Ctrl-C is ours: the command ends with its call.
  const onInterrupt = (): void => stop.abort(new ClusterError('unavailable', 'interrupted'));
  process.once('SIGINT', onInterrupt);
  try {
    return await withCluster((control) => follow(control, start, { input, signal: stop.signal, onStarted }));
  } catch (cause) {
    if (!stop.signal.aborted) throw cause;
    return EXIT.interrupted;
  } finally {
    process.off('SIGINT', onInterrupt);
    input.end();
    for (const release of releases) release();
  }
}

interface FollowParts {
  readonly input: ExecInput;
  readonly signal: AbortSignal;
  readonly onStarted: () => void;
}

/** Until the first answer another manager may be asked; after it the command may have run, so nothing is repeated. */
async function follow(
  control: ControlClient,
  start: covey.v1.ExecStart.$Properties,
  { input, signal, onStarted }: FollowParts,
): Promise<number> {
  const ready = withResolvers<void>();
  let hasBegun = false;
  try {
    for await (const output of control.exec(input.messages(ready.promise, start), { signal })) {
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
    throw new ClusterError('unavailable', `the manager broke off: how the command ended is not known`, {
      hint: 'the node kills it; see `covey node ls`',
      cause,
    });
  }
  throw new ClusterError('unavailable', 'the manager ended the call before the command had ended', {
    hint: 'the node kills the command; see `covey node ls`',
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
