import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type CgroupParentOptions, cgroupParent } from '../../../../agent/runtime/cgroup-parent.ts';
import type { Addon } from '../../../../native/index.ts';

const SCOPE = '/covey.slice/covey-containers.scope';
let folder: string;
let ensured: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'covey-parent-'));
  ensured = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A host whose systemd answers `show` with these, one a call, the last for ever. */
function host(hasSystemd: boolean, shown: string[], calls: string[]): CgroupParentOptions {
  const addon: Pick<Addon, 'cgroupEnsureParent' | 'cgroupFolder' | 'holdScope'> = {
    cgroupEnsureParent: async (path) => {
      ensured.push(path);
    },
    cgroupFolder: () => folder,
    holdScope: async () => 4_711,
  };
  return {
    configured: '/covey',
    addon: addon as Addon,
    shimPath: '/shim',
    hasSystemd,
    sleep: async () => {},
    run: async (command, args) => {
      calls.push(`${command} ${args.join(' ')}`);
      return command === 'systemctl' ? `${(shown.length > 1 ? shown.shift() : shown[0]) ?? ''}\n` : '';
    },
  };
}

it('is the configured path without systemd', async () => {
  expect(await cgroupParent(host(false, [], []))).toBe('/covey');
  expect(ensured).toEqual(['/covey']);
});

it('is a delegated scope under systemd, with its holder in a leaf', async () => {
  const calls: string[] = [];
  expect(await cgroupParent(host(true, ['', '', SCOPE], calls))).toBe(SCOPE);
  expect(calls[1]).toContain('covey-containers.scope fail 4 PIDs au 1 4711 Delegate b true Slice s covey.slice');
  expect(readFileSync(join(folder, 'hold', 'cgroup.procs'), 'utf8')).toBe('4711');
  expect(ensured).toEqual([SCOPE]);
});

it('is taken over when the scope is there already', async () => {
  const calls: string[] = [];
  expect(await cgroupParent(host(true, [SCOPE], calls))).toBe(SCOPE);
  expect(calls.filter((call) => call.startsWith('busctl'))).toEqual([]);
});

it('fails with a hint when systemd never makes the scope', async () => {
  await expect(cgroupParent(host(true, [''], []))).rejects.toMatchObject({ code: 'unavailable' });
});
