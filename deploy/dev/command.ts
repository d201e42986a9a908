/** Runs a program of the machine to its end. */
import { spawnSync } from 'node:child_process';
import { ClusterError } from '../../common/errors.ts';

/** Its output. @throws ClusterError `internal` with what it said, when it ends with anything but 0 */
export function run(command: string, ...args: readonly string[]): string {
  const result = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  if (result.status === 0) return result.stdout;
  const said = (result.error?.message ?? result.stderr).trim();
  throw new ClusterError(
    'internal',
    `${command} ${args.join(' ')} ended with ${result.status ?? result.signal}: ${said}`,
    {
      hint: 'run it as root; `npm run setup` installs what is missing',
    },
  );
}

/** Like `run`, for what may already be gone: undefined instead of an error. */
export function tryRun(command: string, ...args: readonly string[]): string | undefined {
  const result = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  return result.status === 0 ? result.stdout : undefined;
}
