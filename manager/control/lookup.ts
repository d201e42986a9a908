/** Finds what a user refers to: full id, then exact name, then unambiguous id prefix, as Docker's CLI does. */
import { ClusterError } from '../../common/errors.ts';
import { type ContainerClaim, containerNameKey } from '../../common/model/container.ts';
import type { Node } from '../../common/model/node.ts';
import type { Service } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import type { Stored, View } from '../store/store.ts';
import { serviceNameOf } from './names.ts';

interface Named<T> {
  readonly id: string;
  readonly name: string;
  readonly item: T;
}

const SHORT_ID = 12;
/** How many of several matches an error lists. */
const LISTED_MAX = 10;

/** @throws ClusterError `not_found`, or `invalid` listing the matches when there are several */
export function findService(view: View, ref: string): Stored<Service> {
  const claim = view.get('name', `service/${ref.toLowerCase()}`);
  const claimed = claim === undefined ? undefined : view.get('service', claim.value.id);
  return (
    view.get('service', ref) ??
    claimed ??
    find(
      'service',
      ref,
      [...view.all('service')].map((item) => ({ id: item.value.id, name: item.value.spec.name, item })),
    )
  );
}

/** By id, hostname or id prefix. Two hosts of one name are told apart by id. */
export function findNode(view: View, ref: string): Stored<Node> {
  const nodes = [...view.all('node')].map((item) => ({
    id: item.value.id,
    name: view.get('node-status', item.value.id)?.value.description.hostname ?? '',
    item,
  }));
  return find('node', ref, nodes);
}

/** A container without a service, by id, name or id prefix, as far as its claim tells. */
export function findContainer(view: View, ref: string): Stored<ContainerClaim> {
  const bare = ref.replace(/^\//, '');
  const claim = view.get('name', containerNameKey(bare));
  const all = [...view.all('container')].map((item) => ({ id: item.value.id, name: item.value.name, item }));
  const found =
    view.get('container', bare) ?? (claim === undefined ? undefined : view.get('container', claim.value.id));
  if (found !== undefined) return found;
  const matching = all.filter(({ id }) => bare !== '' && id.startsWith(bare));
  const [first, ...others] = matching;
  if (first === undefined) {
    throw new ClusterError('not_found', `no such container: ${ref}`, { hint: 'see `covey ps -a`' });
  }
  if (others.length > 0) {
    const ids = matching.map(({ id, name }) => `${id.slice(0, SHORT_ID)} (${name})`);
    throw several('container', ref, ids);
  }
  return first.item;
}

/** By id, `service.slot.id`, or unambiguous id prefix of two characters or more; undefined when none matches. */
export function findTask(view: View, ref: string): Stored<Task> | undefined {
  const byId = view.get('task', ref);
  if (byId !== undefined) return byId;
  const matching = [...view.all('task')].filter(({ value }) => {
    if (ref.length >= 2 && value.id.startsWith(ref)) return true;
    const name = `${serviceNameOf(view, value)}.${value.slot}`;
    return ref === `${name}.${value.id}`;
  });
  if (matching.length > 1)
    throw several(
      'task',
      ref,
      matching.map(({ value }) => value.id),
    );
  return matching[0];
}

function find<T>(what: string, ref: string, all: readonly Named<T>[]): T {
  const matching =
    [all.filter(({ id }) => id === ref), all.filter(({ name }) => ref !== '' && name === ref)].find(
      (found) => found.length > 0,
    ) ?? all.filter(({ id }) => ref !== '' && id.startsWith(ref));
  const [first, ...others] = matching;
  if (first === undefined) {
    throw new ClusterError('not_found', `${what} "${ref}" is not in the cluster`, { hint: `see \`covey ${what} ls\`` });
  }
  if (others.length > 0)
    throw several(
      what,
      ref,
      matching.map(({ id, name }) => (name === '' ? id : `${name} (${id})`)),
    );
  return first.item;
}

function several(what: string, ref: string, matches: readonly string[]): ClusterError {
  const listed = matches.slice(0, LISTED_MAX).join(', ');
  const more = matches.length > LISTED_MAX ? ` and ${matches.length - LISTED_MAX} more` : '';
  return new ClusterError('invalid', `"${ref}" matches several ${what}s: ${listed}${more}`, {
    hint: 'give more of the id',
  });
}
