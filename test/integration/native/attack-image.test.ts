/** What a hostile image tries: paths that lead through descriptors of the host, layers that steer the overlay, links where mounts go. */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtFile } from '../../../native/index.ts';
import { attacker, stopped } from '../../support/attacker.ts';
import { IN_USER_NAMESPACE, OciWorld } from '../../support/oci-world.ts';

const { EPERM } = constants.errno;
const RACES = 30;
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

  it.each(['auto', 'mount'] as const)(
    'a layer that redirects its folders and files to others is not followed, mounted by %s',
    async (overlayMode) => {
      const lower = join(world.world.folder, `private ${name} ${overlayMode}`);
      const upper = join(world.world.folder, `evil ${name} ${overlayMode}`);
      mkdirSync(join(lower, 'private'), { recursive: true });
      writeFileSync(join(lower, 'private', 'file'), 'private');
      mkdirSync(join(upper, 'folder'), { recursive: true });
      writeFileSync(join(upper, 'file'), '');
      attribute(join(upper, 'folder'), 'redirect', '/private');
      attribute(join(upper, 'file'), 'redirect', '/private/file');
      attribute(join(upper, 'file'), 'metacopy', '');
      const options = { overlayMode, layers: [upper, lower, world.world.layer] };
      expect((await world.ran(['read', '/private/file'], { ...kind, options })).output).toBe('private\n');
      for (const path of ['/folder/file', '/file'])
        expect((await world.ran(['stat', path], { ...kind, options })).code, path).toBe(EPERM);
    },
  );

  it('a console that is a link, or becomes one, leads no terminal elsewhere (CVE-2025-52565)', async () => {
    const dev = join(world.world.folder, `dev ${name}`);
    mkdirSync(join(dev, 'pts'), { recursive: true, mode: 0o755 });
    chmodSync(dev, 0o777);
    symlinkSync('/proc/cmdline', join(dev, 'link'));
    writeFileSync(join(dev, 'console'), '', { mode: 0o666 });
    const mounts = [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', source: dev, options: ['bind'] },
      { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['newinstance', 'ptmxmode=0666'] },
    ];
    const wanted = { ...kind, onlyMounts: mounts, process: { terminal: true } };
    const terminals = async (): Promise<string> => {
      const { output } = await world.ran(['read', '/proc/self/mountinfo'], wanted);
      const lines = output.split('\n').filter((line) => line.includes(' - devpts '));
      return lines.map((line) => line.split(' ')[4]).join(' ');
    };
    expect(await terminals()).toBe('/dev/pts /dev/console');
    const swapper = await attacker('swap', join(dev, 'console'), join(dev, 'link'));
    try {
      for (let race = 0; race < RACES; race += 1) {
        const found = await terminals().catch((cause: unknown) => (cause as NodeJS.ErrnoException).code);
        // What is mounted stays with the file, whose name the attacker may have changed since.
        expect(found, `race ${race}`).toMatch(/^(\/dev\/pts \/dev\/(console|link)|ELOOP)$/);
      }
    } finally {
      await stopped(swapper);
    }
  });
});

/** An attribute by which overlayfs is told where the rest of a file is. */
function attribute(path: string, name: string, value: string): void {
  execFileSync(builtFile('test-init'), ['xattr', path, `trusted.overlay.${name}`, value]);
}
