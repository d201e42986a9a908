/**
 * The kernel's door: the one list of native functions and the only importer of the .node file.
 *
 * Comes in: plain values, converted by src/bind_<subject>.cc. Goes out: plain values with every property set (absent =
 * null), and errors as in error.ts. It never decides anything and never forks Node; what may take longer than a
 * millisecond runs off the main thread and gives a promise. One interface per subject in <subject>.ts; a new subject adds
 * its interface to `Subjects` and its line to src/addon.cc.
 */

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ClusterError } from '../common/errors.ts';
import type { BytesAddon } from './bytes.ts';
import type { CgroupAddon } from './cgroup.ts';
import type { ContainerAddon } from './container.ts';
import type { ExecAddon } from './exec.ts';
import type { LayerAddon } from './layer.ts';
import type { NetworkAddon } from './network.ts';
import type { ProcessAddon } from './process.ts';
import type { TreeAddon } from './tree.ts';

interface Subjects
  extends BytesAddon,
    CgroupAddon,
    ContainerAddon,
    ExecAddon,
    LayerAddon,
    NetworkAddon,
    ProcessAddon,
    TreeAddon {}

/**
 * Every function, in the order in which the addon registers them: src/bind_*.cc by name, each from top to bottom. What is
 * not here cannot be called, and an addon with other functions is not loaded.
 */
export const FUNCTIONS = [
  'sha256Open',
  'sha256Update',
  'sha256Digest',
  'unzstdOpen',
  'unzstdStep',
  'cgroupEnsureParent',
  'cgroupKill',
  'cgroupSignal',
  'cgroupPause',
  'cgroupResume',
  'cgroupPaused',
  'cgroupUpdate',
  'cgroupRemove',
  'cgroupList',
  'cgroupStats',
  'cgroupFolder',
  'containerCreate',
  'containerStart',
  'containerAttend',
  'containerIdentify',
  'containerCheckpoint',
  'containerExec',
  'watchProcess',
  'resolveUser',
  'holdScope',
  'containerExecStream',
  'containerAttach',
  'containerResize',
  'waitingBytes',
  'makeFolder',
  'makeLimitedFolders',
  'makeSpreadFolder',
  'layerBatch',
  'layerApply',
  'removeTree',
  'syncFileSystem',
  'attachVeth',
  'deleteLink',
  'links',
  'routes',
  'changeRoutes',
  'rules',
  'changeRules',
  'runNft',
  'nftGeneration',
  'countConnections',
  'forgetConnections',
  'forgetAddresses',
  'forgetBlock',
  'bootId',
  'startTime',
  'processAlive',
  'signal',
  'notify',
  'treeWalk',
  'treeLookUp',
  'treeNames',
] as const satisfies readonly (keyof Subjects)[];

export type Addon = Pick<Subjects, (typeof FUNCTIONS)[number]>;

let loaded: Addon | undefined;

/**
 * The addon, loaded at first use.
 *
 * @throws ClusterError `unavailable` when it was not built or does not fit this Node
 */
export function native(): Addon {
  loaded ??= load();
  return loaded;
}

/** Where a file of native/build lies, from source and from dist/ alike. @throws ClusterError `unavailable` */
export function builtFile(name: string): string {
  return packageFile(join('native', 'build', name));
}

/** The same for any file that the package ships; `path` is relative to its root. @throws ClusterError `unavailable` */
export function packageFile(path: string): string {
  const start = dirname(fileURLToPath(import.meta.url));
  for (let folder = start; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) {
      const found = join(folder, path);
      if (existsSync(found)) return found;
    }
    if (folder === dirname(folder)) break;
  }
  throw new ClusterError('unavailable', `native core: ${path} is missing`, { hint: 'run: npm run build' });
}

function load(): Addon {
  const path = builtFile(join('Release', 'covey.node'));
  let addon: Addon;
  try {
    addon = createRequire(import.meta.url)(path);
  } catch (cause) {
    throw new ClusterError('unavailable', `native core: ${path} cannot be loaded`, {
      hint: 'it was built for another Node or C library; run: node native/build.mjs --force',
      cause,
    });
  }
  return listed(addon, path);
}

/** `addon` if it has the functions of the list and no others. @throws ClusterError `unavailable` saying what differs */
export function listed(addon: Addon, path: string): Addon {
  const found = Object.keys(addon);
  const isSame = FUNCTIONS.length === found.length && FUNCTIONS.every((name, place) => found[place] === name);
  if (isSame) return addon;
  throw new ClusterError('unavailable', `native core: ${path} is of another version: ${differenceOf(found)}`, {
    hint: 'run: node native/build.mjs',
  });
}

function differenceOf(found: readonly string[]): string {
  const missing = FUNCTIONS.filter((name) => !found.includes(name));
  const more = found.filter((name) => !FUNCTIONS.some((own) => own === name));
  if (missing.length + more.length === 0) return 'its functions are in another order';
  return [...missing.map((name) => `lacks ${name}`), ...more.map((name) => `has ${name}`)].join(', ');
}
