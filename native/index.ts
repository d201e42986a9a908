/**
 * The kernel's door: the one list of native functions and the only importer of the .node file.
 *
 * Comes in: plain values, converted by src/bind_<subject>.cc. Goes out: plain values with every property set (absent =
 * null), and errors as in error.ts. It never decides anything and never forks Node. One interface per subject in
 * <subject>.ts; a new subject adds its interface to `Addon` and its line to src/addon.cc.
 */

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ClusterError } from '../common/errors.ts';
import type { CgroupAddon } from './cgroup.ts';
import type { ContainerAddon } from './container.ts';
import type { ExecAddon } from './exec.ts';
import type { LayerAddon } from './layer.ts';
import type { NetworkAddon } from './network.ts';
import type { ProcessAddon } from './process.ts';

/** Every function of the addon. */
export interface Addon extends ProcessAddon, ContainerAddon, ExecAddon, CgroupAddon, NetworkAddon, LayerAddon {}

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
  try {
    return createRequire(import.meta.url)(path) as Addon;
  } catch (cause) {
    throw new ClusterError('unavailable', `native core: ${path} cannot be loaded`, {
      hint: 'it was built for another Node or C library; run: node native/build.mjs --force',
      cause,
    });
  }
}
