/** What a hostile image tries: paths that lead through descriptors of the host, layers that steer the overlay, links where mounts go. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtFile } from '../../../native/index.ts';
import { IN_USER_NAMESPACE, OciWorld } from '../../support/oci-world.ts';

const UNFILTERED = { seccomp: undefined };
const KINDS = [
  ['in a user namespace', { linux: { ...IN_USER_NAMESPACE, ...UNFILTERED } }],
  ["with the host's ids", { linux: UNFILTERED }],
] as const;
/** More than the shim and the first process ever have open; below are the container's own. */
const DESCRIPTORS = Array.from({ length: 15 }, (_, index) => index + 3);
const UP = '/..'.repeat(20);

let world: OciWorld;
beforeAll(() => {
  world = new OciWorld();
});
afterAll(() => world.destroy());

describe.each(KINDS)('%s', (name, kind) => {
  it('a working directory behind a descriptor is not entered, and no folder is made there (CVE-2024-21626)', async () => {
    const made = join(world.world.folder, `made ${name}`);
    for (const fd of DESCRIPTORS) {
      for (const cwd of [`/proc/self/fd/${fd}`, `/proc/self/fd/${fd}${UP}${made}`]) {
        const outcome = await world.ran(['report'], { ...kind, process: { cwd } }).then(
          ({ output }) => output,
          (cause: unknown) => (cause as Error).message,
        );
        expect(outcome, cwd).toMatch(/working directory/);
        expect(existsSync(made), cwd).toBe(false);
      }
    }
  });

  it('a command behind a descriptor is not run', async () => {
    for (const fd of DESCRIPTORS) {
      const path = `/proc/self/fd/${fd}${UP}${dirname(builtFile('test-init'))}`;
      const process = { args: ['test-init', 'exit', '0'], env: [`PATH=${path}`] };
      await expect(world.ran([], { ...kind, process }), path).rejects.toMatchObject({ code: 'ENOENT' });
    }
  });
});
