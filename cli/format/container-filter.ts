/** The filters of `ps`, as Docker writes them. Pure. */
import { ClusterError } from '../../common/errors.ts';
import type { covey } from '../../proto/messages.ts';
import { hasLabel, noFilter } from './image-filter.ts';

const KEYS = ['id', 'name', 'label', 'status', 'ancestor', 'exited', 'health', 'node'] as const;

const STATES: readonly string[] = [
  'created',
  'running',
  'paused',
  'restarting',
  'exited',
  'dead',
  'removing',
  'unknown',
];

/** Of one key any must fit, of labels all. */
export type ContainerFilters = Readonly<Record<(typeof KEYS)[number], readonly string[]>>;

/** @throws ClusterError `invalid` for a filter that is not known */
export function containerFilters(texts: readonly string[]): ContainerFilters {
  const found = Object.fromEntries(KEYS.map((key) => [key, [] as string[]])) as Record<(typeof KEYS)[number], string[]>;
  for (const text of texts) {
    const equals = text.indexOf('=');
    const key = KEYS.find((each) => each === text.slice(0, equals));
    if (key === undefined) throw noFilter(text, KEYS);
    found[key].push(text.slice(equals + 1));
  }
  for (const name of found.name) patternOf(name);
  const status = found.status.find((each) => !STATES.includes(each));
  if (status !== undefined) {
    throw new ClusterError('invalid', `status=${status} is no state of a container`, {
      field: '--filter',
      hint: `write one of ${STATES.join(', ')}`,
    });
  }
  return found;
}

/** Whether the container is to be shown. */
export function passesContainer(view: covey.v1.ContainerView, filters: ContainerFilters): boolean {
  const container = view.spec?.template?.container;
  const image = container?.image ?? '';
  const any = (values: readonly string[], fits: (value: string) => boolean): boolean =>
    values.length === 0 || values.some(fits);
  return (
    any(filters.id, (id) => view.id.startsWith(id)) &&
    any(filters.name, (name) => [view.name, `/${view.name}`].some((each) => patternOf(name).test(each))) &&
    any(filters.status, (status) => view.state === status) &&
    any(
      filters.ancestor,
      (name) => image === name || image.startsWith(`${name}:`) || (container?.imageDigest ?? '').startsWith(name),
    ) &&
    any(filters.exited, (code) => view.state === 'exited' && String(view.exitCode) === code) &&
    any(filters.health, (health) => (view.health || 'none') === health) &&
    any(filters.node, (node) => view.nodeName === node || view.nodeId.startsWith(node)) &&
    filters.label.every((label) => hasLabel(container?.labels ?? {}, label))
  );
}

/** Docker's names are patterns, found with and without the slash that they begin with. @throws ClusterError `invalid` */
function patternOf(name: string): RegExp {
  try {
    return new RegExp(name);
  } catch (cause) {
    throw new ClusterError('invalid', `"${name}" is no pattern`, { field: '--filter', hint: 'write name=^web', cause });
  }
}
