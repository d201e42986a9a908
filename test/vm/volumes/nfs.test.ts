/** A folder of a file server as a container's volume: this machine serves it to itself by NFS 4.2. */
import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { IN_USER_NAMESPACE, MAPPED, OciWorld } from '../../support/oci-world.ts';

const { EACCES, EROFS } = constants.errno;
const CONTROL = '/proc/fs/nfsd';
/** Of the server; files cannot be opened before it has passed. The shortest there is. */
const GRACE_SECONDS = '10';

let oci: OciWorld;
let shared: string;
let mounted: string;
const run = (command: string, ...args: readonly string[]) => execFileSync(command, args, { stdio: 'pipe' });

beforeAll(() => {
  oci = new OciWorld();
  shared = join(oci.world.folder, 'shared');
  mounted = join(oci.world.folder, 'mounted');
  for (const folder of [shared, mounted, '/var/lib/nfs/v4recovery', '/run/rpc_pipefs'])
    mkdirSync(folder, { recursive: true });
  for (const file of ['/etc/exports', '/var/lib/nfs/etab', '/var/lib/nfs/rmtab']) writeFileSync(file, '');
  writeFileSync(join(shared, 'greeting'), 'from the server');
  run('modprobe', 'nfsd');
  run('mount', '-t', 'nfsd', 'nfsd', CONTROL);
  run('mount', '-t', 'rpc_pipefs', 'rpc_pipefs', '/run/rpc_pipefs');
  for (const name of ['nfsv4gracetime', 'nfsv4leasetime']) writeFileSync(join(CONTROL, name), GRACE_SECONDS);
  run('exportfs', '-o', 'rw,fsid=0,no_root_squash,no_subtree_check,insecure', `127.0.0.1:${shared}`);
  run('rpc.mountd', '-N', '3');
  run('rpc.nfsd', '-N', '3', '-V', '4.2', '2');
  run('mount.nfs4', '127.0.0.1:/', mounted, '-o', 'vers=4.2,sec=sys');
});
afterAll(async () => {
  run('umount', mounted);
  await oci.destroy();
  run('rpc.nfsd', '0');
});

const volume = (...options: readonly string[]) => [
  { destination: '/data', source: mounted, options: ['bind', ...options] },
];

it('a container reads and writes a folder of a file server', async () => {
  const mounts = volume();
  expect((await oci.ran(['read', '/data/greeting'], { mounts })).output).toBe('from the server\n');
  expect((await oci.ran(['open', '/data/made'], { mounts })).code).toBe(0);
  expect(statSync(join(shared, 'made'))).toMatchObject({ uid: 0 });
  const container = await oci.started(['sleep'], { mounts });
  expect(readFileSync(`/proc/${container.identity.pid}/mountinfo`, 'utf8')).toMatch(/ \/data .* - nfs4 /);
});

it('a volume that is read-only is so on a file server too', async () => {
  expect((await oci.ran(['open', '/data/other'], { mounts: volume('ro') })).code).toBe(EROFS);
});

it('a container in a user namespace comes to the file server with its own ids', async () => {
  const wanted = { mounts: volume(), linux: IN_USER_NAMESPACE };
  expect((await oci.ran(['open', '/data/foreign'], wanted)).code).toBe(EACCES);
  chownSync(shared, MAPPED.hostID, MAPPED.hostID);
  expect((await oci.ran(['open', '/data/own'], wanted)).code).toBe(0);
  expect(statSync(join(shared, 'own'))).toMatchObject({ uid: MAPPED.hostID, gid: MAPPED.hostID });
});
