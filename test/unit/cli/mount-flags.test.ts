import { describe, expect, it } from 'vitest';
import { mountsOf } from '../../../cli/flags/mount-flags.ts';
import { type Mount, mountsFlaw } from '../../../common/model/mount.ts';

const volume = { kind: 'volume', readOnly: false, noCopy: false, anonymous: false };
const bind = { kind: 'bind', readOnly: false, propagation: 'rprivate', makes: true };
const given = (flag: string, text: string) => mountsOf({ [flag]: [text] });
const flawOf = (change: object, kind: object = volume): string | undefined =>
  mountsFlaw([{ ...kind, source: 'data', target: '/data', ...change } as Mount], [])?.message;

describe('what a container is to be shown', () => {
  it.each([
    ['volume', 'data:/data', { ...volume, source: 'data', target: '/data' }],
    ['volume', 'data:/data:ro,nocopy', { ...volume, source: 'data', target: '/data', readOnly: true, noCopy: true }],
    ['volume', '/data', { ...volume, source: '', target: '/data', anonymous: true }],
    [
      'volume',
      '/srv:/data/:ro,rslave',
      { ...bind, source: '/srv', target: '/data', readOnly: true, propagation: 'rslave' },
    ],
    ['mount', 'source=data,target=/data', { ...volume, source: 'data', target: '/data' }],
    [
      'mount',
      'type=volume,dst=/data,volume-nocopy',
      { ...volume, source: '', target: '/data', noCopy: true, anonymous: true },
    ],
    [
      'mount',
      'type=bind,src=/srv,dst=/data,ro',
      { ...bind, source: '/srv', target: '/data', readOnly: true, makes: false },
    ],
    ['mount', 'type=bind,src=/s=v,dst=/data,bind-create-src=true', { ...bind, source: '/s=v', target: '/data' }],
    [
      'mount',
      'type=tmpfs,dst=/data,tmpfs-size=1m,tmpfs-mode=700',
      { kind: 'tmpfs', target: '/data', options: ['size=1048576', 'mode=700'] },
    ],
    ['tmpfs', '/data', { kind: 'tmpfs', target: '/data', options: [] }],
    ['tmpfs', '/data:size=1m,exec', { kind: 'tmpfs', target: '/data', options: ['size=1m', 'exec'] }],
  ])('is read from --%s %s', (flag, text, mount) => {
    const { mounts } = given(flag, text);
    expect(mounts).toEqual([mount]);
    expect(mountsFlaw(mounts, [])).toBeUndefined();
  });

  it.each([
    ['volume', 'a:/b:ro:rw'],
    ['volume', '/data:ro'],
    ['volume', 'data:/data:z'],
    ['volume', 'data:/data:rslave'],
    ['volume', '/srv:/data:nocopy'],
    ['volume', './here:/data'],
    ['volume', ':/data'],
    ['mount', 'type=image,src=a,dst=/b'],
    ['mount', 'type=bind,dst=/b'],
    ['mount', 'type=tmpfs,src=a,dst=/b'],
    ['mount', 'type=volume,src=a'],
    ['mount', 'src=a,dst=/b,volume-driver=nfs'],
    ['mount', 'src=a,dst=/b,readonly=maybe'],
    ['mount', 'type=bind,src=/a,dst=/b,bind-propagation=rshared'],
    ['tmpfs', ''],
    ['device', 'null'],
    ['device', '/dev/a:/dev/b:rw:x'],
  ])('is refused as --%s %s', (flag, text) => {
    expect(() => given(flag, text)).toThrow(expect.objectContaining({ code: 'invalid', field: `--${flag}` }));
  });

  it('is a device with the rights that are given', () => {
    const device = (text: string) => given('device', text).devices[0];
    expect(device('/dev/fuse')).toEqual({ source: '/dev/fuse', target: '/dev/fuse', access: 'rwm' });
    expect(device('/dev/fuse:r')).toEqual({ source: '/dev/fuse', target: '/dev/fuse', access: 'r' });
    expect(device('/dev/sda:/dev/xvda:rw')).toEqual({ source: '/dev/sda', target: '/dev/xvda', access: 'rw' });
    const flaw = (access: string, target = '/dev/a'): unknown => mountsFlaw([], [{ source: '/dev/a', target, access }]);
    expect(['rwm', 'r', 'mr'].map((access) => flaw(access))).toEqual([undefined, undefined, undefined]);
    for (const access of ['', 'rr', 'x', 'rwmr']) expect(flaw(access)).toMatchObject({ field: 'devices' });
    for (const target of ['/etc/a', '/dev/../etc', '/dev'])
      expect(flaw('r', target)).toMatchObject({ field: 'devices' });
  });

  it('is refused where nothing can be mounted, and under names that are none', () => {
    for (const target of ['/', '/proc', '/proc/sys', '/sys/fs', '/dev', '/dev/pts', 'data', '/a/../b', '/a//b', '/a\0'])
      expect(flawOf({ target }), target).toBeDefined();
    for (const target of ['/process', '/dev/shm', '/dev/mine', '/a..b'])
      expect(flawOf({ target }), target).toBeUndefined();
    for (const source of ['a', '-ab', 'a/b', 'a b']) expect(flawOf({ source }), source).toContain('volume name');
    expect(flawOf({ source: 'relative' }, bind)).toContain('must be absolute');
    expect(flawOf({ options: ['lowerdir=/'] }, { kind: 'tmpfs' })).toBe('invalid tmpfs option "lowerdir=/"');
    const twice = ['data:/data', 'more:/data/'];
    expect(mountsFlaw(mountsOf({ volume: twice }).mounts, [])?.message).toBe('duplicate mount point: /data');
  });
});
