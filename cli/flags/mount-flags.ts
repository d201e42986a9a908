/** `-v`, `--mount`, `--tmpfs` and `--device` as Docker writes them. Pure. What the core lacks is refused by name. */
import type { ContainerSpec } from '../../common/model/container.ts';
import { type Device, type Mount, PROPAGATIONS, type Propagation } from '../../common/model/mount.ts';
import { parseBytes } from '../../common/units.ts';
import type { Given } from './service-edits.ts';
import { refuse } from './values.ts';

const ACCESS = 'rwm';

/** @throws ClusterError `invalid` naming the flag */
export function mountsOf(given: Given): Pick<ContainerSpec, 'mounts' | 'devices'> {
  const mounts = [
    ...list(given, 'volume').map(volumeOf),
    ...list(given, 'mount').map(mountOf),
    ...list(given, 'tmpfs').map(tmpfsOf),
  ];
  return { mounts: mounts.map(cleaned), devices: list(given, 'device').map(deviceOf) };
}

/** `[SOURCE:]TARGET[:OPTIONS]`; a source that is no absolute path is a volume's name. Source: docker/cli, volume specifications. */
function volumeOf(text: string): Mount {
  const parts = text.split(':');
  const [first = '', second, options = ''] = parts;
  if (parts.length > 3 || parts.some((part) => part === '') || (second !== undefined && !second.startsWith('/'))) {
    refuse('--volume', `invalid volume specification: '${text}'`, 'write NAME:/path, /host/path:/path[:ro] or /path');
  }
  const wish = volumeOptions(options, text);
  const { readOnly } = wish;
  if (second === undefined)
    return { kind: 'volume', source: '', target: first, readOnly, noCopy: false, anonymous: true };
  if (first.startsWith('/')) {
    const { propagation = 'rprivate', noCopy } = wish;
    if (noCopy) refuse('--volume', `invalid mode: ${options}: nocopy is for volumes`);
    return { kind: 'bind', source: first, target: second, readOnly, propagation, makes: true };
  }
  if (/^[.~]/.test(first)) {
    refuse(
      '--volume',
      `"${first}" is no absolute path`,
      'the container may run on another host: write the path there from /',
    );
  }
  const { propagation, noCopy } = wish;
  if (propagation !== undefined) refuse('--volume', `invalid mode: ${options}: ${propagation} is for binds`);
  return { kind: 'volume', source: first, target: second, readOnly, noCopy, anonymous: false };
}

interface VolumeOptions {
  readonly readOnly: boolean;
  readonly noCopy: boolean;
  readonly propagation?: Propagation;
}

function volumeOptions(options: string, text: string): VolumeOptions {
  let wish: VolumeOptions = { readOnly: false, noCopy: false };
  for (const option of options === '' ? [] : options.split(',')) {
    const propagation = PROPAGATIONS.find((each) => each === option);
    if (option === 'ro' || option === 'rw') wish = { ...wish, readOnly: option === 'ro' };
    else if (option === 'nocopy') wish = { ...wish, noCopy: true };
    else if (propagation !== undefined) wish = { ...wish, propagation };
    else refuse('--volume', `invalid mode: ${option} in '${text}'`, `use ro, rw, nocopy, ${PROPAGATIONS.join(', ')}`);
  }
  return wish;
}

const KEYS = new Map([
  ['src', 'source'],
  ['dst', 'target'],
  ['destination', 'target'],
  ['ro', 'readonly'],
]);
const OF_KIND = {
  bind: ['bind-propagation', 'bind-create-src'],
  volume: ['volume-nocopy'],
  tmpfs: ['tmpfs-size', 'tmpfs-mode'],
} as const;
type Kind = keyof typeof OF_KIND;

/** `type=volume,source=NAME,target=/path,…` */
function mountOf(text: string): Mount {
  const fields = new Map<string, string>();
  for (const part of text.split(',')) {
    const [written = '', ...rest] = part.split('=');
    const key = KEYS.get(written.toLowerCase()) ?? written.toLowerCase();
    fields.set(key, rest.length === 0 ? 'true' : rest.join('='));
  }
  const kind = kindOf(fields.get('type') ?? 'volume');
  const allowed: readonly string[] = ['type', 'source', 'target', 'readonly', ...OF_KIND[kind]];
  const other = [...fields.keys()].find((key) => !allowed.includes(key));
  if (other !== undefined)
    refuse('--mount', `unexpected key '${other}' in '${text}'`, `type ${kind} knows ${allowed.join(', ')}`);
  const target = fields.get('target');
  if (target === undefined) return refuse('--mount', 'target is required', 'add target=/path');
  const source = fields.get('source') ?? '';
  const readOnly = isSet(fields, 'readonly');
  if (kind === 'tmpfs') {
    if (source !== '') refuse('--mount', 'tmpfs has no source');
    return { kind, target, options: memoryOptions(fields, readOnly) };
  }
  if (kind === 'volume') {
    return { kind, source, target, readOnly, noCopy: isSet(fields, 'volume-nocopy'), anonymous: source === '' };
  }
  if (source === '') refuse('--mount', 'source is required for a bind', 'add source=/path, on the node');
  const propagation = propagationOf(fields.get('bind-propagation') ?? 'rprivate');
  return { kind, source, target, readOnly, propagation, makes: isSet(fields, 'bind-create-src') };
}

function kindOf(text: string): Kind {
  if (text === 'bind' || text === 'volume' || text === 'tmpfs') return text;
  return refuse('--mount', `mount type "${text}" is not known`, 'use bind, volume or tmpfs');
}

function propagationOf(text: string): Propagation {
  const found = PROPAGATIONS.find((each) => each === text);
  return found ?? refuse('--mount', `invalid propagation "${text}"`, `use ${PROPAGATIONS.join(', ')}`);
}

function isSet(fields: ReadonlyMap<string, string>, key: string): boolean {
  const value = fields.get(key) ?? 'false';
  if (['true', '1'].includes(value)) return true;
  if (['false', '0'].includes(value)) return false;
  return refuse('--mount', `invalid value for ${key}: ${value}`, 'use true or false');
}

function memoryOptions(fields: ReadonlyMap<string, string>, readOnly: boolean): readonly string[] {
  const size = fields.get('tmpfs-size');
  const mode = fields.get('tmpfs-mode');
  return [
    ...(readOnly ? ['ro'] : []),
    ...(size === undefined ? [] : [`size=${parseBytes(size, '--mount')}`]),
    ...(mode === undefined ? [] : [`mode=${mode}`]),
  ];
}

/** `TARGET[:OPTIONS]` */
function tmpfsOf(text: string): Mount {
  const [target = '', options = '', ...rest] = text.split(':');
  if (target === '' || rest.length > 0) refuse('--tmpfs', `invalid tmpfs "${text}"`, 'write /path:size=64m,mode=700');
  return { kind: 'tmpfs', target, options: options === '' ? [] : options.split(',') };
}

/** `SOURCE[:TARGET][:ACCESS]` */
function deviceOf(text: string): Device {
  const [source = '', second, third, ...rest] = text.split(':');
  if (source === '' || rest.length > 0) refuse('--device', `invalid device specification: ${text}`);
  if (!source.startsWith('/'))
    refuse('--device', `bad format for path: ${source}`, 'write a path below /dev of the node');
  if (second === undefined) return { source, target: source, access: ACCESS };
  if (third === undefined && /^[rwm]{1,3}$/.test(second)) return { source, target: source, access: second };
  return { source, target: second, access: third ?? ACCESS };
}

/** As Docker: a slash at the end means nothing. */
function cleaned<T extends Mount>(mount: T): T {
  const target = mount.target.length > 1 ? mount.target.replace(/\/+$/, '') || '/' : mount.target;
  return { ...mount, target };
}

function list(given: Given, key: string): readonly string[] {
  return (given[key] as readonly string[] | undefined) ?? [];
}
