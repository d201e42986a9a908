/**
 * `npm run test:debian-root [-- TAR]`: a whole Debian root file system, or the one in TAR, unpacked as an agent unpacks a layer, must be what
 * GNU tar makes of it. Without TAR mmdebstrap makes one from the package mirror and is installed when it is missing. Needs root.
 * The last line is `N passed, N failed`.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { native } from '../../native/index.ts';
import { unpackBoth } from '../support/like-tar.ts';

const RELEASE = 'bookworm';
/** Lines of a difference that are shown. */
const SHOWN = 20;

function debianRoot(dir: string): string {
  if (!existsSync('/usr/bin/mmdebstrap')) {
    execFileSync('apt-get', ['update', '-qq'], { stdio: 'inherit' });
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'mmdebstrap'], { stdio: 'inherit' });
  }
  const tar = join(dir, 'root.tar');
  execFileSync('mmdebstrap', ['--variant=standard', RELEASE, tar], { stdio: ['ignore', 'inherit', 'inherit'] });
  return tar;
}

/** Lines that only one of them has. */
function difference(byTar: string, byUs: string): readonly string[] {
  const [tars, ours] = [new Set(byTar.split('\n')), new Set(byUs.split('\n'))];
  const only = (these: ReadonlySet<string>, those: ReadonlySet<string>, sign: string): readonly string[] =>
    [...these].filter((line) => !those.has(line)).map((line) => `${sign} ${line}`);
  return [...only(tars, ours, '-'), ...only(ours, tars, '+')];
}

const dir = mkdtempSync(join(tmpdir(), 'covey-debian-root-'));
let failed = 0;
try {
  const given = process.argv[2];
  const tar = given === undefined ? debianRoot(dir) : resolve(given);
  const { byTar, byUs } = await unpackBoth(tar, dir);
  const count = byTar.entries.trimEnd().split('\n').length;
  console.log(`${count} entries, ${(statSync(tar).size / 2 ** 20).toFixed(0)} MiB`);
  for (const aspect of ['entries', 'xattrs', 'holes'] as const) {
    const found = difference(byTar[aspect], byUs[aspect]);
    console.log(`${found.length === 0 ? 'ok' : 'not ok'} - ${aspect}`);
    if (found.length === 0) continue;
    failed += 1;
    console.log(`${found.slice(0, SHOWN).join('\n')}\n(- GNU tar, + covey; ${found.length} lines)`);
  }
} finally {
  await native().removeTree(dir);
}
console.log(`${3 - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
