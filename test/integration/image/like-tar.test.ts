import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { native } from '../../../native/index.ts';
import { type Pair, unpackBoth } from '../../support/like-tar.ts';

/** A part of this machine's own root, with what a Debian has beside it: programs with rights, sparse files, long names, devices. */
const MAKE_PART = `
set -e
cp -a --parents $(find /usr/bin /usr/sbin -xdev -type f -perm /6000) /usr/bin/perl* /usr/bin/which /etc .
[ ! -e /usr/share/zoneinfo ] || cp -a --parents /usr/share/zoneinfo .
mkdir -p dev var/log run long; chmod 1777 run
mknod -m 666 dev/null c 1 3; mknod -m 660 dev/sda b 8 0; chgrp 6 dev/sda; mknod -m 600 dev/high c 300 70000; mkfifo -m 640 run/pipe
ln usr/bin/passwd usr/bin/passwd-again; ln -s ../usr/bin/passwd dev/link; ln dev/link dev/same-link; ln dev/null dev/null-again
cp /usr/bin/true usr/bin/capable
dd if=/dev/urandom of=var/log/lastlog bs=4096 count=1 seek=2000 status=none
dd if=/dev/urandom of=var/log/lastlog bs=4096 count=2 seek=50 conv=notrunc status=none
truncate -s 30M var/log/lastlog; truncate -s 7777777 var/log/hole
for at in $(seq 1 40); do dd if=/dev/urandom of=var/log/many bs=4096 count=1 seek=$((at * 3)) conv=notrunc status=none; done
name=$(printf 'n%.0s' $(seq 1 250)); mkdir -p long/$name/$name; echo far > long/$name/$name/$name; ln -s $name/$name/$name long/short
python3 - <<'P'
import os
os.setxattr('usr/bin/capable', 'security.capability', bytes.fromhex('0100000200040000000000000000000000000000'))
os.setxattr('var/log/hole', 'user.empty', b'')
os.setxattr('long', 'user.name', 'ä'.encode())
# Of a folder with something in it: r-x for group 4, handed down too. Source: acl(5), xattr "system.posix_acl_*".
acl = bytes.fromhex('0200000001000700ffffffff04000500ffffffff080005000400000010000500ffffffff20000500ffffffff')
for name in ('access', 'default'): os.setxattr('var/log', 'system.posix_acl_' + name, acl)
os.utime('var/log/hole', ns=(1, 2_000_000_001))
os.utime('dev/same-link', ns=(1, 123_456_789), follow_symlinks=False)
P
`;
const PAX = ['--format=posix', '--xattrs', '--xattrs-include=*', '--sparse'];
const FORMATS: readonly (readonly [name: string, options: readonly string[]])[] = [
  ['PAX with sparse files of 1.0', [...PAX, '--sparse-version=1.0']],
  ['PAX with sparse files of 0.1', [...PAX, '--sparse-version=0.1']],
  ['PAX with sparse files of 0.0', [...PAX, '--sparse-version=0.0']],
  ['PAX with every byte', PAX.slice(0, -1)],
  ['GNU', ['--format=gnu', '--sparse']],
];

let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'covey-like-tar-'));
  execFileSync('bash', ['-c', `mkdir part; cd part; ${MAKE_PART}`], { cwd: dir, stdio: 'pipe' });
});
afterAll(() => native().removeTree(dir));

describe.each(FORMATS)('a part of a Debian packed as %s', (name, options) => {
  let pair: Pair;

  beforeAll(async () => {
    const home = mkdtempSync(join(dir, 'format-'));
    const tar = join(home, 'layer.tar');
    execFileSync('tar', ['-c', ...options, '-f', tar, '-C', join(dir, 'part'), '.'], { stdio: 'pipe' });
    pair = await unpackBoth(tar, home);
  });

  it('becomes what GNU tar makes of it: content, modes, owners, links, devices, times', () => {
    expect(pair.byUs.entries).toBe(pair.byTar.entries);
    expect(pair.byTar.entries).toMatch(/usr\/bin\/passwd' 0o104755/);
  });

  it('has the attributes that GNU tar gives it', () => {
    expect(pair.byUs.xattrs).toBe(pair.byTar.xattrs);
    if (name === 'GNU') return;
    expect(pair.byTar.xattrs).toMatch(/usr\/bin\/capable security.capability/);
    expect(pair.byTar.xattrs).toMatch(/var\/log system.posix_acl_default/);
  });

  it('has its holes where GNU tar leaves them', () => {
    expect(pair.byUs.holes).toBe(pair.byTar.holes);
    if (options.includes('--sparse')) expect(pair.byTar.holes).toMatch(/var\/log\/hole 7777777 \[\]/);
  });
});
