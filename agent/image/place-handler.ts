/** Engine's way to have an image on this node before a task needs it. */
import { ClusterError } from '../../common/errors.ts';
import { isDigest } from '../../common/model/ids.ts';
import type { Engine } from '../../proto/methods.ts';
import type { Handlers } from '../../proto/rpc.ts';
import type { Images } from './image.ts';

/** The image stays as one that is not used does: until room is needed. */
export function placeHandler(images: Images): Pick<Handlers<typeof Engine>, 'placeImage'> {
  return {
    async *placeImage({ reference, digest }, { signal }) {
      if (!isDigest(digest)) {
        throw new ClusterError('invalid', `"${digest.slice(0, 100)}" is not a digest`, { field: 'digest' });
      }
      const existed = (await images.list()).some((held) => held.digest === digest);
      yield { here: existed, existed };
      if (existed) return;
      await images.ensure(reference, digest, signal);
      yield { here: true, existed };
    },
  };
}
