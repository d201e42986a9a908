/** What a container is shown besides its root file system: folders and files of its node, volumes, memory, devices; and their rules. */
import { type Flaw, firstFlaw, textFlaw } from './spec-flaw.ts';

/** Of the node's files. `makes`: what is not there becomes a folder. */
export interface BindMount {
  readonly kind: 'bind';
  /** Absolute. */
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  readonly propagation: Propagation;
  readonly makes: boolean;
}

/** A folder that its node keeps, of that name; made when there is none. */
export interface VolumeMount {
  readonly kind: 'volume';
  /** Empty: its node makes one up, and it goes with the container when that is wanted. */
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  /** An empty one gets nothing of what the image has there. */
  readonly noCopy: boolean;
  /** Nobody named it. */
  readonly anonymous: boolean;
}

export interface MemoryMount {
  readonly kind: 'tmpfs';
  readonly target: string;
  /** Of mount(8), such as `ro`, `size=64m`, `mode=700`. */
  readonly options: readonly string[];
}

export type Mount = BindMount | VolumeMount | MemoryMount;

/** Whether mounts made later below it are seen on the other side. */
export type Propagation = (typeof PROPAGATIONS)[number];
export const PROPAGATIONS = ['rprivate', 'private', 'rslave', 'slave'] as const;

/** A device of the node, or all those below a folder. */
export interface Device {
  /** Absolute, on the node. */
  readonly source: string;
  /** Below /dev. */
  readonly target: string;
  /** Of r, w and m. */
  readonly access: string;
}

/** More are somebody's mistake. */
const MOUNTS_MAX = 256;
const PATH_MAX = 4_095;
/** Docker's names of volumes. */
const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}$/;
/** What the kernel fills in, and the container is made of. */
const TAKEN = /^\/(?:proc|sys|dev\/pts|dev\/mqueue)(?:\/|$)|^\/dev$/;
const MEMORY_OPTION =
  /^(?:ro|rw|exec|noexec|suid|nosuid|dev|nodev|atime|noatime|diratime|nodiratime|relatime|norelatime|strictatime|nostrictatime|(?:size|nr_blocks)=\d+[kKmMgG%]?|nr_inodes=\d+[kKmMgG]?|mode=[0-7]{1,4}|[ug]id=\d+)$/;

/** What is wrong with a name for a volume. */
export function volumeNameFlaw(name: string): Flaw | undefined {
  if (VOLUME_NAME.test(name)) return undefined;
  return {
    message: `"${name.slice(0, 200).replace(/\p{Cc}/gu, '?')}" includes invalid characters for a volume name, or is too short`,
    field: 'mounts',
    hint: 'use at least two of letters, digits, _ . and -; a folder of the node is written as an absolute path',
  };
}

/** The first thing wrong with a container's mounts and devices. */
export function mountsFlaw(mounts: readonly Mount[], devices: readonly Device[]): Flaw | undefined {
  if (mounts.length > MOUNTS_MAX || devices.length > MOUNTS_MAX)
    return { message: `more than ${MOUNTS_MAX} mounts or devices`, field: 'mounts', hint: 'give fewer' };
  const seen = new Set<string>();
  for (const mount of mounts) {
    const flaw = firstFlaw(
      () => targetFlaw(mount.target),
      () => mountFlaw(mount),
    );
    if (flaw !== undefined) return flaw;
    if (seen.has(mount.target))
      return { message: `duplicate mount point: ${mount.target}`, field: 'mounts', hint: 'mount one thing there' };
    seen.add(mount.target);
  }
  for (const device of devices) {
    const flaw = deviceFlaw(device);
    if (flaw !== undefined) return flaw;
  }
  return undefined;
}

function mountFlaw(mount: Mount): Flaw | undefined {
  switch (mount.kind) {
    case 'bind':
      return pathFlaw(mount.source, 'source');
    case 'volume':
      return mount.source === '' ? undefined : volumeNameFlaw(mount.source);
    case 'tmpfs': {
      const option = mount.options.find((each) => !MEMORY_OPTION.test(each));
      if (option === undefined) return undefined;
      return {
        message: `invalid tmpfs option "${option.slice(0, 100)}"`,
        field: 'mounts',
        hint: 'such as size=64m,mode=700',
      };
    }
  }
}

function targetFlaw(target: string): Flaw | undefined {
  const flaw = pathFlaw(target, 'mount path');
  if (flaw !== undefined) return flaw;
  if (target === '/') {
    return {
      message: "invalid specification: destination can't be '/'",
      field: 'mounts',
      hint: 'name a folder below it',
    };
  }
  if (!TAKEN.test(target)) return undefined;
  return { message: `nothing can be mounted at ${target}`, field: 'mounts', hint: 'the kernel’s own files are there' };
}

function pathFlaw(path: string, what: string): Flaw | undefined {
  const isClean =
    path.startsWith('/') && !/\0|\/\/|\/\.{1,2}(?:\/|$)/.test(path) && (path === '/' || !path.endsWith('/'));
  if (isClean) return textFlaw(path, 'mounts', PATH_MAX);
  return {
    message: `invalid ${what}: '${path.slice(0, 200).replace(/\p{Cc}/gu, '?')}': it must be absolute`,
    field: 'mounts',
    hint: 'write it from / on, without . and ..',
  };
}

function deviceFlaw({ source, target, access }: Device): Flaw | undefined {
  const field = 'devices';
  if (!/^(?!.*(.).*\1)[rwm]{1,3}$/.test(access))
    return { message: `invalid device mode: ${access.slice(0, 20)}`, field, hint: 'write some of r, w and m' };
  if (!/^\/dev\/./.test(target))
    return { message: `device ${target.slice(0, 200)} would not be below /dev`, field, hint: 'write SOURCE:/dev/NAME' };
  const flaw = firstFlaw(
    () => pathFlaw(source, 'device'),
    () => pathFlaw(target, 'device'),
  );
  return flaw === undefined ? undefined : { ...flaw, field };
}
