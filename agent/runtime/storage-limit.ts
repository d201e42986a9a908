/** The size of a container's writable layer: a quota project that its overlay's folders are made in. */
import { ClusterError } from '../../common/errors.ts';
import type { Limits } from '../../common/model/service.ts';
import type { LayerAddon } from '../../native/layer.ts';
import type { OciConfig } from './oci-config.ts';

/** Of a container's overlay, in its own folder. Source: native/src/oci_plan.cc. */
const LAYER_FOLDERS = ['upper', 'work'];

/**
 * Makes the folders of the writable layer with the limit, if there is one. Whoever lives in the first user namespace may
 * take the files it owns out of any quota project, so a container must have its own.
 *
 * @param folder  the container's own; the folders are not there yet
 * @throws ClusterError `invalid` without a user namespace; NativeError where the file system enforces no quotas
 */
export async function limitStorage(
  addon: LayerAddon,
  folder: string,
  config: OciConfig,
  { storageBytes = 0 }: Limits,
): Promise<void> {
  if (storageBytes === 0) return;
  if (!config.linux.namespaces.some(({ type }) => type === 'user')) {
    throw new ClusterError('invalid', 'a size of the writable layer holds only in a user namespace of its own', {
      field: 'limits.storageBytes',
      hint: 'leave out --storage-opt, or --userns host',
    });
  }
  await addon.makeLimitedFolders(folder, LAYER_FOLDERS, storageBytes);
}
