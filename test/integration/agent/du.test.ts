import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { bytesBelow } from '../../../agent/disk/du.ts';

const { signal } = new AbortController();

it('counts what is below a folder while others make and remove files there, and nothing of one that is gone', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'covey-du-'));
  writeFileSync(join(dir, 'stays'), Buffer.alloc(8_192));
  const churn = 'cd "$0"; while :; do mkdir -p d/e; : > d/e/1; : > d/e/2; : > d/e/3; rm -rf d; done';
  const writer = spawn('sh', ['-c', churn, dir], { stdio: 'ignore', detached: true });
  try {
    for (let looks = 0; looks < 50; looks += 1) expect(await bytesBelow(dir, signal)).toBeGreaterThanOrEqual(8_192);
  } finally {
    const ended = new Promise((done) => writer.once('close', done));
    process.kill(-(writer.pid ?? 0), 'SIGKILL');
    await ended;
    rmSync(dir, { recursive: true, force: true });
  }
  expect(await bytesBelow(dir, signal)).toBe(0);
  await expect(bytesBelow('/proc/1/fd/none\0', signal)).rejects.toThrow();
});
