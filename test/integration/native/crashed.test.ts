import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { removeCrashed } from '../../../deploy/crashed.mjs';

it('removes the folder of a test process that crashed, with what is mounted in it', async () => {
  const { pid } = spawnSync('true');
  const folder = join(tmpdir(), `covey-test-${pid}-crashed`);
  mkdirSync(join(folder, 'disk'), { recursive: true });
  spawnSync('mount', ['-t', 'tmpfs', 'crashed', join(folder, 'disk')]);
  mkdirSync(join(folder, 'disk', 'inner'));
  spawnSync('mount', ['-t', 'tmpfs', 'crashed', join(folder, 'disk', 'inner')]);
  expect(await removeCrashed()).toBeGreaterThan(0);
  expect(existsSync(folder)).toBe(false);
});
