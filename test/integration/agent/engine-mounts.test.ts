/** What containers without a service are shown besides their files, on the real core: volumes, files of the host, memory, devices. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Standalone } from '../../../agent/engine/standalone.ts';
import type { ContainerSpec } from '../../../common/model/container.ts';
import type { BindMount, VolumeMount } from '../../../common/model/mount.ts';
import { EngineWorld, eventually } from '../../support/engine-world.ts';
import { forever } from '../../support/native-world.ts';

let own: EngineWorld;

beforeAll(() => {
  own = new EngineWorld();
});
afterAll(() => own?.world.destroy());
beforeEach(() => own.begin());
afterEach(() => own.end());

const ended = (box: Standalone) => box.wait(forever);

describe('what a container is shown besides its files', () => {
  const volume = (source: string, target: string, change: Partial<VolumeMount> = {}): VolumeMount => {
    return { kind: 'volume', source, target, readOnly: false, noCopy: false, anonymous: source === '', ...change };
  };
  const bound = (source: string, target: string, change: Partial<BindMount> = {}): BindMount => {
    return { kind: 'bind', source, target, readOnly: false, propagation: 'rprivate', makes: false, ...change };
  };
  const saidBy = async (script: string, change: Partial<ContainerSpec>): Promise<string> => {
    const box = await own.engine.create(own.newId(), own.spec(`(${script}) 2>&1`, change), forever);
    const session = await box.start(forever, { types: false });
    let text = '';
    for await (const { bytes } of session?.output ?? []) text += String(bytes);
    return text;
  };

  it('is a volume that begins with what the image has there, keeps what is written, and stays until it is removed', async () => {
    const mounts = [volume('store', '/data')];
    expect(await saidBy('cat /data/old; echo more > /data/more; ls -ln /data/more', { mounts })).toMatch(
      /from the image.* 0 +0 .*more\n$/s,
    );
    const path = join(own.world.folder, 'volumes', 'store', 'data');
    expect(readFileSync(join(path, 'more'), 'utf8')).toBe('more\n');
    expect(statSync(join(path, 'more')).uid).toBe(0);
    const readOnly = [volume('store', '/data', { readOnly: true })];
    expect(await saidBy('cat /data/more; echo x > /data/x', { mounts: readOnly })).toMatch(/^more\n.*Read-only/);
    await expect(own.engine.removeVolume('store', forever)).rejects.toMatchObject({ code: 'conflict', message: /box/ });
    for (const each of own.engine.all) await each.remove({ force: true, volumes: true });
    expect((await own.engine.volumes()).map(({ name }) => name)).toEqual(['store']);
    await own.engine.removeVolume('store', forever);
    await expect(own.engine.removeVolume('store', forever)).rejects.toMatchObject({ code: 'not_found' });
  });

  it('is a volume without a name for each that the image wants, which goes with --rm and with rm -v', async () => {
    const box = await own.run('echo x > /kept/x', {});
    await ended(box);
    expect(box.record.spec.mounts).toMatchObject([{ kind: 'volume', target: '/kept', anonymous: true }]);
    await box.start(forever);
    await ended(box);
    await box.remove({ force: false });
    const [left] = await own.engine.volumes();
    expect(left).toMatchObject({ anonymous: true, containers: [] });
    await own.engine.removeVolume(left?.name ?? '', forever);
    for (const autoRemove of [true, false]) {
      const other = await own.run('true', { autoRemove });
      if (!autoRemove) await other.remove({ force: true, volumes: true });
      await eventually(() => own.engine.all.length).toBe(0);
      await expect.poll(async () => await own.engine.volumes()).toEqual([]);
    }
  });

  it('is a folder or a file of the host, read-only when that is wanted, and missed by name', async () => {
    const dir = join(own.world.folder, 'bound');
    mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, 'file'), 'of the host\n');
    const mounts = [bound(dir, '/data'), bound(join(dir, 'file'), '/etc/hostname', { readOnly: true })];
    const said = await saidBy('cat /data/file /etc/hostname; echo x > /etc/hostname; echo y > /data/made', { mounts });
    expect(said).toMatch(/^of the host\nof the host\n.*Read-only/);
    expect(readFileSync(join(dir, 'made'), 'utf8')).toBe('y\n');
    const missing = join(dir, 'missing');
    await expect(saidBy('true', { mounts: [bound(missing, '/data')] })).rejects.toMatchObject({
      code: 'invalid',
      message: new RegExp(missing),
    });
    await saidBy('echo z > /data/z', { mounts: [bound(missing, '/data', { makes: true })] });
    expect(readFileSync(join(missing, 'z'), 'utf8')).toBe('z\n');
  });

  it('is memory with the options that were given, and a device of the host', async () => {
    const script =
      'cat /proc/mounts; echo x > /data/x; cat /data/x; busybox head -c 3 /dev/more | busybox wc -c; echo x > /dev/more; echo tried';
    const mounts = [{ kind: 'tmpfs', target: '/data', options: ['size=64k', 'mode=700'] }] as const;
    const devices = [{ source: '/dev/zero', target: '/dev/more', access: 'r' }];
    const said = await saidBy(script, { mounts, devices });
    expect(said).toMatch(/tmpfs \/data tmpfs rw,nosuid,nodev,noexec,.*size=64k,mode=700/);
    expect(said).toMatch(/\nx\n3\n/);
    await expect(saidBy('true', { devices: [{ source: '/etc', target: '/dev/x', access: 'r' }] })).resolves.toBe('');
    await expect(
      saidBy('true', { devices: [{ source: '/etc/passwd', target: '/dev/x', access: 'r' }] }),
    ).rejects.toMatchObject({ code: 'invalid', message: /not a device node/ });
  });
});
