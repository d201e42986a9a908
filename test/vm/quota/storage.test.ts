/** Quotas of writable layers, on a kernel and a disk that have them. */
import { cpSync, mkdirSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { native } from '../../../native/index.ts';
import { LoopDisk } from '../../support/loop-disk.ts';
import { IN_USER_NAMESPACE, OciWorld } from '../../support/oci-world.ts';

const MIB = 1 << 20;
const { EDQUOT } = constants.errno;
const BLOCK_BYTES = 512;

let oci: OciWorld;
let disk: LoopDisk;
beforeAll(() => {
  oci = new OciWorld();
  const make = ['-O', 'project,quota', '-E', 'quotatype=prjquota'];
  disk = new LoopDisk(oci.world.folder, { mib: 128, make, mount: ['prjquota'] });
  // Layers on tmpfs are mapped by younger kernels only.
  cpSync(oci.world.layer, join(disk.path, 'layer'), { recursive: true });
});
afterAll(async () => {
  disk.remove();
  await oci.destroy();
});

/** A container whose folder lies on the disk and whose layer holds so much. */
async function wrote(id: string, limitMib: number, mib: number): Promise<{ code: number | null; kept: number }> {
  const stateDir = join(disk.path, id);
  mkdirSync(stateDir);
  await native().makeLimitedFolders(stateDir, ['upper', 'work'], limitMib * MIB);
  const options = { stateDir, layers: [join(disk.path, 'layer')], logPath: join(stateDir, 'log') };
  const { code } = await oci.ran(['fill', '/file', String(mib)], { linux: IN_USER_NAMESPACE, options });
  return { code, kept: statSync(join(stateDir, 'upper', 'file')).blocks * BLOCK_BYTES };
}

it('a container writes no more than its layer may hold, and is told so', async () => {
  const { code, kept } = await wrote('full', 4, 16);
  expect(code).toBe(EDQUOT);
  expect(kept).toBeLessThanOrEqual(4 * MIB);
  expect(kept).toBeGreaterThan(3 * MIB);
});

it('a container below its limit is left alone, whatever its neighbour has used', async () => {
  expect(await wrote('one', 8, 6)).toMatchObject({ code: 0 });
  expect(await wrote('two', 8, 6)).toMatchObject({ code: 0 });
});

it('a size is refused on a disk without quotas, with its mount', async () => {
  const folder = join(oci.world.folder, 'plain');
  mkdirSync(folder);
  const attempt = native().makeLimitedFolders(folder, ['upper'], MIB);
  await expect(attempt).rejects.toMatchObject({
    code: 'EOPNOTSUPP',
    message: expect.stringContaining('tmpfs on /tmp'),
  });
});
