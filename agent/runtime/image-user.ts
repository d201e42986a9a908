/** Who a container's process is: names are looked up in the image's own files. */
import type { Addon } from '../../native/index.ts';
import type { ResolvedUser } from './oci-config.ts';
import type { CreateRequest } from './runtime.ts';

/** @param layers  topmost first. Rejects with the core's error when a name is not in the image */
export async function userOf(
  addon: Pick<Addon, 'resolveUser'>,
  request: Pick<CreateRequest, 'template' | 'image'>,
  layers: readonly string[],
): Promise<ResolvedUser> {
  const name = request.template.user ?? request.image.user;
  const user =
    name === '' || name === '0' || name === 'root'
      ? { uid: 0, gid: 0, additionalGids: [], home: '/root' }
      : await addon.resolveUser(layers, name);
  const gids = new Set(user.additionalGids);
  for (const group of request.template.process?.groups ?? []) {
    gids.add((await addon.resolveUser(layers, `0:${group}`)).gid);
  }
  return { ...user, additionalGids: [...gids] };
}
