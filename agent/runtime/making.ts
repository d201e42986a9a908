/** How a container comes to be, for the first time and once more. Comes in: a request. Goes out: a shim that holds its first process. */
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import { logSettings } from '../../common/model/log-policy.ts';
import type { ContainerCreateOptions, ContainerIdentity } from '../../native/container.ts';
import { isNativeError } from '../../native/error.ts';
import type { Addon } from '../../native/index.ts';
import { configText } from './config-text.ts';
import { ContainerFolder, type ContainerNote } from './container-folder.ts';
import { type Held, taken } from './held.ts';
import type { HostFacts } from './host-facts.ts';
import type { IdRange } from './id-ranges.ts';
import { userOf } from './image-user.ts';
import { logOptions } from './log-options.ts';
import { type OciConfig, ociConfig } from './oci-config.ts';
import type { CreateRequest } from './runtime.ts';
import { runtimeError } from './runtime-error.ts';
import { limitStorage } from './storage-limit.ts';

/** What is needed to make one. */
export interface Workshop {
  readonly addon: Addon;
  readonly clock: Clock;
  readonly host: HostFacts;
  readonly stateDir: string;
  readonly cgroupParent: string;
  readonly overlayMode: ContainerCreateOptions['overlayMode'];
  readonly shimPath: string;
}

interface Made {
  readonly note: ContainerNote;
  readonly folder: ContainerFolder;
  readonly identity: ContainerIdentity;
}

interface Planned {
  readonly config: OciConfig;
  readonly text: string;
}

/** Of an earlier run; the record of its end goes last. */
const PAST = ['state.json', 'control'];
const EXIT = 'exit.json';
const PAST_EXIT = 'exit.past.json';

/** Leaves nothing when it throws; the ids are the caller's to free. */
export async function makeContainer(
  shop: Workshop,
  request: CreateRequest,
  ids: { readonly ids?: IdRange },
): Promise<Made> {
  const { addon, clock, stateDir, cgroupParent } = shop;
  const { id, image, labels } = request;
  const folder = new ContainerFolder(stateDir, id);
  const cgroup = `${cgroupParent}/${id}`;
  const layers = image.layers.toReversed();
  const { compress: compressesLog } = logSettings(request.template.log);
  const lasting = request.isLasting === true ? { isLasting: true as const } : {};
  const note: ContainerNote = { id, cgroup, createdAt: clock.now(), labels, compressesLog, ...ids, ...lasting };
  let planned: Planned;
  try {
    planned = await plan(shop, folder, request, { note, layers });
    await folder.make(addon, note, planned.text, request.files);
  } catch (cause) {
    if (isNativeError(cause) && cause.code === 'EEXIST') throw taken(id);
    throw runtimeError(cause, `container ${id}`);
  }
  try {
    await limitStorage(addon, folder.path, planned.config, request.limits);
    const identity = await addon.containerCreate(planned.text, optionsOf(shop, folder, request));
    return { note, folder, identity };
  } catch (cause) {
    // The shim undoes what it made, unless it was killed meanwhile.
    await addon.cgroupRemove(cgroup);
    await folder.remove(addon);
    throw runtimeError(cause, `container ${id}`);
  }
}

/** When it throws, the record of the last end is as it was. */
export async function remakeContainer(shop: Workshop, old: Held, request: CreateRequest): Promise<ContainerIdentity> {
  const { addon } = shop;
  const { folder, note } = old;
  if (note.isLasting !== true) throw new ClusterError('conflict', `container ${note.id} was made for one run`);
  // Its own files come first: its users may be in them.
  const layers = [join(folder.path, 'upper'), ...request.image.layers.toReversed()];
  try {
    const { text } = await plan(shop, folder, request, { note, layers });
    await addon.cgroupRemove(note.cgroup);
    await folder.renew(text, request.files);
    for (const name of PAST) await rm(join(folder.path, name), { force: true });
    await rename(join(folder.path, EXIT), join(folder.path, PAST_EXIT)).catch(unlessMissing);
    const identity = await addon.containerCreate(text, optionsOf(shop, folder, request));
    await rm(join(folder.path, PAST_EXIT), { force: true });
    return identity;
  } catch (cause) {
    await rename(join(folder.path, PAST_EXIT), join(folder.path, EXIT)).catch(unlessMissing);
    // Whoever finds the folder is to know that it was made once.
    await writeFile(join(folder.path, 'state.json'), '{}', { flag: 'wx', mode: 0o600 }).catch(unlessThere);
    throw runtimeError(cause, `container ${note.id}`);
  }
}

async function plan(
  { addon, host }: Workshop,
  folder: ContainerFolder,
  request: CreateRequest,
  { note, layers }: { readonly note: ContainerNote; readonly layers: readonly string[] },
): Promise<Planned> {
  const user = await userOf(addon, request, layers);
  const ids = note.ids === undefined ? {} : { ids: note.ids };
  const config = ociConfig({
    ...request,
    ...ids,
    user,
    cgroup: note.cgroup,
    files: folder.mountsOf(request.files),
    host,
  });
  return { config, text: configText(config) };
}

function optionsOf(shop: Workshop, folder: ContainerFolder, request: CreateRequest): ContainerCreateOptions {
  return {
    id: request.id,
    stateDir: folder.path,
    layers: request.image.layers.toReversed(),
    overlayMode: shop.overlayMode,
    volatile: request.isLasting !== true,
    reaper: request.template.process?.init ?? false,
    logPath: folder.logPath,
    ...logOptions(logSettings(request.template.log)),
    input: request.input !== undefined,
    inputOnce: request.input === 'once',
    restart: request.restart ?? null,
    shimPath: shop.shimPath,
  };
}

function unlessMissing(cause: NodeJS.ErrnoException): void {
  if (cause.code !== 'ENOENT') throw cause;
}

function unlessThere(cause: NodeJS.ErrnoException): void {
  if (cause.code !== 'EEXIST') throw cause;
}
