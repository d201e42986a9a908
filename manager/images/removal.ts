/** Which images go when a user says so. PURE: the view and a wish in, images out; nothing is removed here. */
import { ClusterError } from '../../common/errors.ts';
import type { Image } from '../../common/model/cluster.ts';
import type { Instant } from '../../common/model/ids.ts';
import type { Labels } from '../../common/model/service.ts';
import type { View } from '../store/store.ts';
import { isUntagged, usersOf } from './usage.ts';

/** What a user wants to be rid of. */
export interface PruneWish {
  /** Images with a name too. */
  readonly all: boolean;
  /** Only those that came before; 0 = whenever. */
  readonly until: Instant;
  /** `KEY` or `KEY=VALUE`: each must be there, none of `labelsNot` may. */
  readonly labels: readonly string[];
  readonly labelsNot: readonly string[];
  /** Only to say what would go. */
  readonly plan: boolean;
}

/**
 * The names to remove for one `image rm`.
 *
 * @param found  what the user's word fits: images of one digest
 * @throws ClusterError `conflict` when the last name would go of what somebody uses, or one digest has several names and
 *   `force` is not set
 */
export function removable(view: View, found: readonly Image[], force: boolean): readonly Image[] {
  const [first] = found;
  if (first === undefined) return [];
  const names = [...view.all('image')].map(({ value }) => value).filter((each) => !isUntagged(each));
  if (found.length > 1 && !force) {
    const several = found.map(({ reference }) => `"${reference}"`).join(', ');
    throw new ClusterError('conflict', `image ${first.digest.slice(7, 19)} has several names: ${several}`, {
      hint: 'give NAME:TAG, or add --force to remove them all',
    });
  }
  const left = names.filter(({ digest }) => digest === first.digest).length - found.length;
  const users = usersOf(view, first.digest);
  if (users.length > 0 && left <= 0) {
    throw new ClusterError('conflict', `image "${first.reference}" is used by ${users.join(', ')}`, {
      hint: 'update or remove those first; a version that a service can roll back to counts too',
    });
  }
  return found;
}

/** Unused images that the wish covers as far as the view tells; labels are still to be looked at. */
export function prunable(view: View, wish: PruneWish): readonly Image[] {
  return [...view.all('image')]
    .map(({ value }) => value)
    .filter((image) => wish.all || isUntagged(image))
    .filter((image) => wish.until === 0 || image.loadedAt < wish.until)
    .filter((image) => usersOf(view, image.digest).length === 0);
}

/** Whether an image with these labels is meant. */
export function fitsLabels(labels: Labels, wish: Pick<PruneWish, 'labels' | 'labelsNot'>): boolean {
  const has = (text: string): boolean => {
    const equals = text.indexOf('=');
    if (equals < 0) return Object.hasOwn(labels, text);
    return Object.hasOwn(labels, text.slice(0, equals)) && labels[text.slice(0, equals)] === text.slice(equals + 1);
  };
  return wish.labels.every(has) && !wish.labelsNot.some(has);
}
