/** Quotas of writable layers, on a kernel and on disks that have them. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { native } from '../../../native/index.ts';
import { LoopDisk, type LoopDiskOptions } from '../../support/loop-disk.ts';
import { IN_USER_NAMESPACE, OciWorld, type WantedConfig } from '../../support/oci-world.ts';

const MIB = 1 << 20;
const { EDQUOT, EINVAL, ENOSPC } = constants.errno;
const BLOCK_BYTES = 512;

const EXT4: LoopDiskOptions = {
  mib: 128,
  make: ['-O', 'project,quota', '-E', 'quotatype=prjquota'],
  mount: ['prjquota'],
};
// mkfs makes none smaller.
const XFS: LoopDiskOptions = { mib: 320, kind: 'xfs', mount: ['prjquota'] };

/** XFS tells of a full project as of a full disk. */
describe.each([
  ['ext4', EXT4, EDQUOT],
  ['xfs', XFS, ENOSPC],
] as const)('on %s', (_, options, full) => {
  let oci: OciWorld;
  let disk: LoopDisk;
  beforeAll(() => {
    oci = new OciWorld();
    disk = new LoopDisk(oci.world.folder, options);
    // Layers on tmpfs are mapped by younger kernels only.
    cpSync(oci.world.layer, join(disk.path, 'layer'), { recursive: true });
  });
  afterAll(async () => {
    disk.remove();
    await oci.destroy();
  });

  /** Of a container whose folder lies on the disk and whose layer holds so much. */
  async function limited(
    id: string,
    limitMib: number,
  ): Promise<{ readonly stateDir: string; readonly wanted: WantedConfig }> {
    const stateDir = join(disk.path, id);
    mkdirSync(stateDir);
    await native().makeLimitedFolders(stateDir, ['upper', 'work'], limitMib * MIB);
    const layers = { stateDir, layers: [join(disk.path, 'layer')], logPath: join(stateDir, 'log') };
    return { stateDir, wanted: { linux: IN_USER_NAMESPACE, options: layers } };
  }

  it('a container writes no more than its layer may hold, and is told so', async () => {
    const { stateDir, wanted } = await limited('full', 4);
    const { code } = await oci.ran(['fill', '/file', '16'], wanted);
    expect(code).toBe(full);
    const kept = statSync(join(stateDir, 'upper', 'file')).blocks * BLOCK_BYTES;
    expect(kept).toBeLessThanOrEqual(4 * MIB);
    expect(kept).toBeGreaterThan(3 * MIB);
  });

  it('a container below its limit is left alone, whatever its neighbour has used', async () => {
    for (const id of ['one', 'two']) {
      const { wanted } = await limited(id, 8);
      expect(await oci.ran(['fill', '/file', '6'], wanted)).toMatchObject({ code: 0 });
    }
  });

  it('a container cannot take its files out of the quota', async () => {
    const { wanted } = await limited('thief', 4);
    expect((await oci.ran(['project', '/', '0'], wanted)).code).toBe(EINVAL);
  });
});

it('a size is refused on a disk without quotas, with its mount', async () => {
  const { world } = new OciWorld();
  const folder = join(world.folder, 'plain');
  mkdirSync(folder);
  execFileSync('mount', ['-t', 'tmpfs', 'plain', folder]);
  const attempt = native().makeLimitedFolders(folder, ['upper'], MIB);
  await expect(attempt).rejects.toMatchObject({
    code: 'EOPNOTSUPP',
    message: expect.stringContaining(`tmpfs on ${folder}`),
  });
  execFileSync('umount', [folder]);
  await world.destroy();
});
