/** The files of containers without a service on the real core: told, exported, copied in and out. */
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { changesOf, exported, readPath, writePath } from '../../../agent/engine/files.ts';
import type { Standalone } from '../../../agent/engine/standalone.ts';
import { TarReader } from '../../../common/oci/tar.ts';
import { EngineWorld } from '../../support/engine-world.ts';
import { forever } from '../../support/native-world.ts';
import { streamOf, type TarPart, tarOf } from '../../support/tar.ts';

let own: EngineWorld;

beforeAll(() => {
  own = new EngineWorld();
});
afterAll(() => own?.world.destroy());
beforeEach(() => own.begin());
afterEach(() => own.end());

const ended = (box: Standalone) => box.wait(forever);

async function namesIn(tar: AsyncIterable<Uint8Array>): Promise<Map<string, string>> {
  const reader = new TarReader(tar, 'a tar');
  const found = new Map<string, string>();
  for (let entry = await reader.next(); entry !== undefined; entry = await reader.next()) {
    let text = '';
    for (let piece = await reader.chunk(65_536); piece !== undefined; piece = await reader.chunk(65_536)) text += piece;
    found.set(entry.path, entry.kind === 'symlink' ? `-> ${entry.link}` : text);
  }
  return found;
}

const put = (box: Standalone, path: string, parts: readonly TarPart[]) =>
  writePath(own.tools(), box, { path, keepsOwner: false }, streamOf(tarOf(parts)), forever);

describe('files of a container', () => {
  it('are told as added, changed and deleted', async () => {
    const box = await own.run(
      'echo x > /data/new; echo y > /data/old; rm -r /data/deep 2>/dev/null || busybox rm -r /data/deep',
    );
    await ended(box);
    const lines = (await changesOf(own.tools(), box, forever)).map(({ kind, path }) => `${kind} ${path}`);
    expect(lines).toEqual(['C /data', 'D /data/deep', 'A /data/new', 'C /data/old']);
  });

  it('are exported as they are seen inside', async () => {
    const box = await own.run('echo x > /data/new; busybox rm /data/old');
    await ended(box);
    const found = await namesIn(exported(own.tools(), box, forever));
    expect(found.get('data/new')).toBe('x\n');
    expect(found.has('data/old')).toBe(false);
    expect(found.get('data/deep/old')).toBe('from the image too');
  });

  it.each(['running', 'ended'] as const)('are copied into one that is %s, as root’s', async (state) => {
    const box = await own.run(state === 'running' ? 'sleep 1000' : 'busybox rm -r /data/deep');
    if (state === 'ended') await ended(box);
    await put(box, '/data', [
      { path: 'in', body: 'copied', uid: 77 },
      { path: 'deep/', type: '5', mode: 0o750 },
      { path: 'deep/in', body: 'deeper' },
    ]);
    if (state === 'ended') {
      await box.respec(own.spec('sleep 1000', { name: box.record.spec.name }));
      await box.start(forever);
    }
    const request = { args: ['/bin/sh', '-c', 'cat /data/in /data/deep/in; ls -ln /data; ls /data/deep'], env: [] };
    const { output } = await own.world.runtime.exec(
      box.record.id,
      { ...request, timeoutMs: 5_000, outputMaxBytes: 9_999 },
      forever,
    );
    expect(output).toContain('copieddeeper');
    expect(output).toMatch(/-rw-r--r-- +1 0 +0 .* in\n/);
    expect(output.endsWith(state === 'running' ? 'in\nold\n' : '\nin\n')).toBe(true);
  });

  it('go nowhere outside, whatever links the container makes', async () => {
    const outside = join(own.world.folder, 'outside');
    mkdirSync(outside);
    const race =
      'while :; do busybox rm -rf /data/way; busybox ln -s / /data/way; busybox rm -f /data/way; busybox mkdir /data/way; done';
    const box = await own.run(`busybox ln -s ${outside} /data/out; ${race}`);
    await expect.poll(async () => (await namesIn(exported(own.tools(), box, forever))).has('data/out')).toBe(true);
    await expect(put(box, '/data/out', [{ path: 'evil', body: 'x' }])).rejects.toMatchObject({ code: 'not_found' });
    for (let tries = 0; tries < 30; tries += 1) {
      // Whether it is a folder at this moment is the container's affair; where it leads is ours.
      await put(box, '/data/way', [{ path: 'evil', body: 'x' }]).catch(() => undefined);
      await put(box, '/data', [{ path: 'way/evil', body: 'x' }]).catch(() => undefined);
    }
    expect(() => readFileSync(join(outside, 'evil'))).toThrow('ENOENT');
    expect(() => readFileSync('/evil')).toThrow('ENOENT');
    await expect(put(box, '/data', [{ path: '../../evil', body: 'x' }])).rejects.toMatchObject({ code: 'invalid' });
  });

  it.each(['running', 'ended'] as const)(
    'are those of the volume that is mounted there, in one that is %s',
    async (state) => {
      const volume = { kind: 'volume', target: '/kept', noCopy: false, anonymous: true } as const;
      const outside = join(own.world.folder, 'volumes');
      const script = `busybox ln -s ../volume.json /kept/out; busybox ln -s ${outside} /kept/far; echo in > /kept/in`;
      const mounts = [{ ...volume, source: '', readOnly: false }];
      const box = await own.run(state === 'running' ? `${script}; exec sleep 1000` : script, { mounts });
      const read = (path: string) => namesIn(readPath(own.tools(), box, { path, follow: true }, forever));
      await expect.poll(async () => (await read('/kept').catch(() => new Map())).has('kept/in')).toBe(true);
      if (state === 'ended') await ended(box);
      await put(box, '/kept', [
        { path: 'made', body: 'from outside', uid: 7 },
        { path: 'deep/', type: '5' },
      ]);
      await put(box, '/kept/deep', [{ path: 'made', body: 'deeper' }]);
      expect((await read('/kept/made')).get('made')).toBe('from outside');
      expect((await read('/kept')).get('kept/deep/made')).toBe('deeper');
      const source = own.engine.volumePath(
        box.record.spec.mounts[0]?.kind === 'volume' ? box.record.spec.mounts[0].source : '',
      );
      expect(readFileSync(join(source, 'deep', 'made'), 'utf8')).toBe('deeper');
      expect(statSync(join(source, 'made')).uid).toBe(0);
      for (const path of ['/kept/out', '/kept/far'])
        await expect(read(path)).rejects.toMatchObject({ code: 'not_found' });
      await expect(put(box, '/kept/far', [{ path: 'evil', body: 'x' }])).rejects.toMatchObject({ code: 'not_found' });
      const fixed = { ...box.record.spec, mounts: [{ ...volume, source: 'any', readOnly: true }] };
      await box.respec({ ...fixed, mounts: box.record.spec.mounts.map((mount) => ({ ...mount, readOnly: true })) });
      await expect(put(box, '/kept', [{ path: 'no', body: 'x' }])).rejects.toMatchObject({ code: 'conflict' });
      await box.respec({ ...fixed, mounts: [{ kind: 'tmpfs', target: '/kept', options: [] }] });
      await expect(put(box, '/kept', [{ path: 'no', body: 'x' }])).rejects.toMatchObject({
        code: 'conflict',
        message: /memory/,
      });
    },
  );

  it('do not become another kind of file, and are missed by name', async () => {
    const box = await own.run('sleep 1000');
    await expect(put(box, '/', [{ path: 'data', body: 'a file' }])).rejects.toMatchObject({ code: 'conflict' });
    await expect(put(box, '/data', [{ path: 'old/', type: '5' }])).rejects.toMatchObject({ code: 'conflict' });
    await expect(put(box, '/none', [])).rejects.toMatchObject({ code: 'not_found' });
    const read = readPath(own.tools(), box, { path: '/none', follow: false }, forever);
    await expect(namesIn(read)).rejects.toMatchObject({ code: 'not_found', message: /\/none/ });
  });
});
