/** How much room folders take. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const GONE = 'No such file or directory';

/** Bytes of blocks below a folder, without what is mounted in it; 0 when it is gone. Whoever writes there may go on. Source: du(1). */
export async function bytesBelow(dir: string, signal: AbortSignal): Promise<number> {
  const { stdout } = await run('du', ['-sx', '--block-size=1', '--', dir], {
    signal,
    env: { ...process.env, LC_ALL: 'C' },
  }).catch((cause: { readonly stdout?: string; readonly stderr?: string }) => {
    // What went while du looked is no failure; the sum is that of the rest.
    const { stdout: sum = '', stderr = '' } = cause;
    const lines = stderr.split('\n').filter((line) => line !== '');
    if (lines.length === 0 || !lines.every((line) => line.endsWith(GONE))) throw cause;
    return { stdout: sum };
  });
  return Number.parseInt(stdout, 10) || 0;
}
