/**
 * What a container without a service is shown besides its root file system. Comes in: what its user and its image ask for. Goes out:
 * names for volumes that have none, volumes that are there and begun with what the image has in their place, and OCI mounts and devices.
 */
import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ClusterError } from '../../common/errors.ts';
import type { ContainerSpec } from '../../common/model/container.ts';
import { type Device, type Mount, mountsFlaw, type VolumeMount } from '../../common/model/mount.ts';
import type { UnpackedImage } from '../image/image.ts';
import { writeTree } from '../image/layer-writer.ts';
import { lookUp, treeEntries } from '../image/tree.ts';
import type { ContainerDevice, ContainerMount } from '../runtime/runtime.ts';
import type { Volumes } from '../volume/volumes.ts';

/** What the request for a run says of it. */
export interface Shown {
  readonly mounts: readonly ContainerMount[];
  readonly devices: readonly ContainerDevice[];
}

/** The spec's mounts with a name for every volume, and one more for each of the image's that nothing is mounted on. */
export function namedMounts({ mounts }: Pick<ContainerSpec, 'mounts'>, volumes: readonly string[]): readonly Mount[] {
  const targets = new Set(mounts.map(({ target }) => target));
  const own = volumes
    .filter((target) => !targets.has(target))
    .map((target): VolumeMount => ({ ...ANONYMOUS, source: newName(), target }))
    // An image may name what nothing can be mounted on.
    .filter((mount) => mountsFlaw([mount], []) === undefined);
  return [...mounts, ...own].map((mount) =>
    mount.kind === 'volume' && mount.source === '' ? { ...mount, source: newName(), anonymous: true } : mount,
  );
}

const ANONYMOUS = { kind: 'volume', readOnly: false, noCopy: false, anonymous: true } as const;

function newName(): string {
  return randomBytes(32).toString('hex');
}

/** Makes and fills the volumes, and proves that what is bound is there. @throws ClusterError `invalid` naming the path */
export async function prepareMounts(
  { mounts }: Pick<ContainerSpec, 'mounts'>,
  image: UnpackedImage,
  { volumes, now }: { readonly volumes: Volumes; readonly now: number },
  signal: AbortSignal,
): Promise<void> {
  for (const mount of mounts) {
    if (mount.kind === 'volume') {
      const { source, anonymous, noCopy, target } = mount;
      const fill = (dir: string) => (noCopy ? Promise.resolve() : copied(image, target, dir, signal));
      await volumes.ensure(source, { createdAt: now, anonymous }, fill, signal);
    } else if (mount.kind === 'bind') {
      await boundSource(mount.source, mount.makes);
    }
  }
}

/** As they are at this moment: a device may have got another number, a folder may have gone. @throws ClusterError `invalid` */
export async function shownOf(
  { mounts, devices }: Pick<ContainerSpec, 'mounts' | 'devices'>,
  volumes: Volumes,
): Promise<Shown> {
  const shown: ContainerMount[] = [];
  // What lies above comes first, or it would hide the rest.
  for (const mount of mounts.toSorted((a, b) => depth(a.target) - depth(b.target))) {
    if (mount.kind === 'bind') await boundSource(mount.source, mount.makes);
    shown.push(mountOf(mount, volumes));
  }
  const nodes = await Promise.all(devices.map((device) => nodesOf(device)));
  return { mounts: shown, devices: nodes.flat() };
}

function depth(path: string): number {
  return path.split('/').length;
}

function mountOf(mount: Mount, volumes: Volumes): ContainerMount {
  const { target: destination } = mount;
  switch (mount.kind) {
    case 'tmpfs':
      // As Docker's: what a user names wins.
      return { destination, type: 'tmpfs', source: 'tmpfs', options: ['noexec', 'nosuid', 'nodev', ...mount.options] };
    case 'volume': {
      const rights = mount.readOnly ? ['ro'] : ['rw'];
      const options = ['bind', ...rights, 'rprivate', 'idmap'];
      return { destination, type: 'bind', source: volumes.pathOf(mount.source), options };
    }
    case 'bind': {
      const rights = mount.readOnly ? ['ro', 'rro'] : ['rw'];
      return {
        destination,
        type: 'bind',
        source: mount.source,
        options: ['rbind', ...rights, mount.propagation, 'ridmap'],
      };
    }
  }
}

async function boundSource(path: string, makes: boolean): Promise<void> {
  try {
    await stat(path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' && makes) await mkdir(path, { recursive: true, mode: 0o755 });
    else {
      throw new ClusterError(
        'invalid',
        `invalid mount config for type "bind": bind source path does not exist: ${path}`,
        {
          field: 'mounts',
          hint: 'it must be on the container’s node; -v makes a folder of what is missing',
          cause,
        },
      );
    }
  }
}

/** What the image has in a volume's place, with the rights of the folder itself. */
async function copied({ layers }: UnpackedImage, target: string, dir: string, signal: AbortSignal): Promise<void> {
  const all = layers.toReversed().map((path) => ({ path, idBase: 0 }));
  const path = Buffer.from(target.slice(1)).toString('latin1');
  const place = await lookUp(all, path, { follow: true }).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT' || cause.code === 'ENOTDIR') return undefined;
    throw cause;
  });
  if (place?.entry?.kind !== 'directory') return;
  await writeTree(dir, treeEntries({ layers: all, path: place.path }, signal), signal);
  await chown(dir, place.entry.uid, place.entry.gid);
  await chmod(dir, place.entry.mode & 0o7777);
}

async function nodesOf({ source, target, access }: Device): Promise<readonly ContainerDevice[]> {
  const found = await stat(source).catch((cause: unknown) => {
    throw new ClusterError(
      'invalid',
      `error gathering device information while adding custom device "${source}": no such file or directory`,
      {
        field: 'devices',
        hint: 'it must be on the container’s node',
        cause,
      },
    );
  });
  if (found.isDirectory()) {
    const names = await readdir(source, { withFileTypes: true });
    const below = names.filter((each) => each.isDirectory() || each.isCharacterDevice() || each.isBlockDevice());
    const nodes = await Promise.all(
      below.map(({ name }) => nodesOf({ source: join(source, name), target: join(target, name), access })),
    );
    return nodes.flat();
  }
  const type = found.isBlockDevice() ? 'b' : found.isCharacterDevice() ? 'c' : undefined;
  if (type === undefined) {
    throw new ClusterError('invalid', `"${source}" is not a device node`, { field: 'devices', hint: 'see `ls -l`' });
  }
  const { uid, gid, mode } = found;
  // Source: gnu_dev_major and gnu_dev_minor of glibc; Node gives the number whole.
  const major = Number((BigInt(found.rdev) >> 8n) & 0xfffn);
  const minor = Number((BigInt(found.rdev) & 0xffn) | ((BigInt(found.rdev) >> 12n) & 0xfff00n));
  return [{ path: target, type, major, minor, uid, gid, fileMode: mode & 0o777, access }];
}
