/** `exec`: one more command in a task's container, wherever it runs. */
import { ReadStream, WriteStream } from 'node:tty';
import type { Command } from 'commander';
import { ClusterError } from '../../common/errors.ts';
import type { covey } from '../../proto/messages.ts';
import { attached } from '../attachment.ts';
import { withCluster } from '../client.ts';
import { DETACH_KEYS } from '../detach-keys.ts';
import { collected } from '../flags/values.ts';
import { sizeOf } from '../terminal.ts';

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
    .description('run a command in the container of a running task, or in one of no service')
    .argument('<task>', 'id, id prefix, SERVICE.SLOT, SERVICE.SLOT.ID or a container’s name')
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
      const start = startOf(task, command, flags);
      process.exitCode = await withCluster((control) =>
        attached({
          start,
          tty: start.tty === true,
          detachKeys: flags.detachKeys,
          call: (inputs, options) => control.exec(inputs, options),
          isHeard: true,
          lost: 'how the command ended',
        }),
      );
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
