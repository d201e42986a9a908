import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { builtFile } from '../../native/index.ts';

/** A built file, or the one of that name in the folder of COVEY_TEST_BUILD: a shim with sanitizers (test/asan). */
export function testFile(name: string): string {
  const other = join(process.env.COVEY_TEST_BUILD ?? '', name);
  return process.env.COVEY_TEST_BUILD !== undefined && existsSync(other) ? other : builtFile(name);
}
