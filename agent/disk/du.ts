/** How much room folders take. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Bytes of blocks below a folder, without what is mounted in it. Source: du(1). */
export async function bytesBelow(dir: string, signal: AbortSignal): Promise<number> {
  const { stdout } = await run('du', ['-sx', '--block-size=1', '--', dir], { signal });
  return Number.parseInt(stdout, 10);
}
