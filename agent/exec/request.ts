/** A user's command as the runtime wants it. Pure. */
import { ClusterError } from '../../common/errors.ts';
import type { covey } from '../../proto/messages.ts';
import type { OpenExecRequest, TerminalSize } from '../runtime/exec.ts';

const CELLS_MAX = 65_535;

/** @throws ClusterError `invalid` naming the field */
export function openRequest(start: covey.v1.ExecStart.$Properties): OpenExecRequest {
  const { command, env, user, workdir, size } = start;
  if (!command?.length || command[0] === '') throw new ClusterError('invalid', 'there is no command');
  if (workdir && !workdir.startsWith('/')) {
    throw new ClusterError('invalid', `working directory "${workdir}" is not absolute`, { field: 'workdir' });
  }
  const flaw = (env ?? []).find((each) => !/^[^=]+=/.test(each));
  if (flaw !== undefined) throw new ClusterError('invalid', 'a variable is not KEY=value', { field: 'env' });
  if (start.tty && start.detach) throw new ClusterError('invalid', 'a detached command has no terminal');
  return {
    args: command,
    env: env ?? [],
    privileged: start.privileged ?? false,
    stdin: start.stdin ?? false,
    detached: start.detach ?? false,
    ...(user ? { user } : {}),
    ...(workdir ? { workdir } : {}),
    ...(start.tty ? { terminal: sizeOf(size) ?? null } : {}),
  };
}

/** Undefined when there is none or it is no size. */
export function sizeOf(size: covey.v1.TerminalSize.$Properties | null | undefined): TerminalSize | undefined {
  const { rows = 0, columns = 0 } = size ?? {};
  const isSize = [rows, columns].every((cells) => Number.isInteger(cells) && cells > 0 && cells <= CELLS_MAX);
  return isSize ? { rows, columns } : undefined;
}
