/** From flags to specs: the whole of `service create`, and the `-add`/`-rm` forms of `service update`. Pure but for --env-file and a made-up name. */
import { ClusterError } from '../../common/errors.ts';
import type { Port, ServiceSpec } from '../../common/model/service.ts';
import { givenProcess } from './process-flags.ts';
import { randomName } from './random-name.ts';
import { applySharedFlags, type Draft, draftOf, emptySpec } from './service-flags.ts';
import { environment, environmentFile, keyValues, ports, words } from './values.ts';

export type Given = Readonly<Record<string, unknown>>;

function list(given: Given, key: string): readonly string[] {
  const value = given[key];
  return Array.isArray(value) ? (value as string[]) : [];
}

function text(given: Given, key: string): string | undefined {
  const value = given[key];
  return typeof value === 'string' ? value : undefined;
}

/** `--log-opt`s, all of them anew: of the driver there is, or of the default one. */
function setLogOptions(draft: Draft, given: Given): void {
  const items = list(given, 'logOpt');
  if (items.length === 0) return;
  draft.template.container.log = { driver: draft.template.container.log?.driver ?? 'local', options: keyValues(items) };
}

/** The spec of `service create IMAGE [ARG…]`. @throws ClusterError `invalid` naming the flag */
export function createSpec(image: string, args: readonly string[], given: Given, env: NodeJS.ProcessEnv): ServiceSpec {
  const draft = draftOf(emptySpec(image));
  applySharedFlags(draft, given);
  applyProcess(draft, given);
  draft.name = text(given, 'name') ?? randomName();
  draft.labels = keyValues(list(given, 'label'));
  setLogOptions(draft, given);
  const container = draft.template.container;
  container.labels = keyValues(list(given, 'containerLabel'));
  container.env = [
    ...list(given, 'envFile').flatMap((path) => environmentFile(path, env)),
    ...environment(list(given, 'env'), env),
  ];
  if (args.length > 0) container.args = [...args];
  draft.template.placement.constraints = [...list(given, 'constraint')];
  draft.ports = list(given, 'publish').flatMap((item) => [...ports(item, '--publish')]);
  return draft;
}

/** The spec after `service update`'s flags. @throws ClusterError `invalid` naming the flag */
export function updatedSpec(before: ServiceSpec, given: Given, env: NodeJS.ProcessEnv): ServiceSpec {
  const draft = draftOf(before);
  applySharedFlags(draft, given);
  applyProcess(draft, given);
  setLogOptions(draft, given);
  const container = draft.template.container;
  const image = text(given, 'image');
  if (image !== undefined) {
    container.image = image;
    // The digest was the old image's; the manager resolves the new one.
    delete container.imageDigest;
  }
  const args = text(given, 'args');
  if (args !== undefined) container.args = words(args, '--args');
  draft.labels = edited(draft.labels, given, 'label');
  container.labels = edited(container.labels, given, 'containerLabel');
  container.env = editedEnv(container.env, given, env);
  const constraints = draft.template.placement.constraints.filter((one) => !list(given, 'constraintRm').includes(one));
  draft.template.placement.constraints = [...new Set([...constraints, ...list(given, 'constraintAdd')])];
  draft.ports = editedPorts(draft.ports, given);
  if (given.force === true) draft.template.forceUpdate += 1;
  return draft;
}

function applyProcess(draft: Draft, given: Given): void {
  const rules = givenProcess(draft.template.container.process, given);
  if (rules !== undefined)
    draft.template.container.process = structuredClone(rules) as NonNullable<Draft['template']['container']['process']>;
}

function edited(before: Record<string, string>, given: Given, key: string): Record<string, string> {
  const after = { ...before };
  for (const name of list(given, `${key}Rm`)) delete after[name];
  return { ...after, ...keyValues(list(given, `${key}Add`)) };
}

function editedEnv(before: readonly string[], given: Given, env: NodeJS.ProcessEnv): string[] {
  const added = environment(list(given, 'envAdd'), env);
  const nameOf = (item: string) => item.split('=')[0] ?? item;
  const dropped = new Set([...list(given, 'envRm'), ...added.map(nameOf)]);
  return [...before.filter((item) => !dropped.has(nameOf(item))), ...added];
}

function editedPorts(before: readonly Port[], given: Given): Port[] {
  const added = list(given, 'publishAdd').flatMap((item) => ports(item, '--publish-add'));
  const removed = list(given, 'publishRm').flatMap((item) => {
    // By target port, as Docker does: `80`, `80/udp`, or the whole of what was published.
    const [one] = ports(item, '--publish-rm');
    return one === undefined ? [] : [one];
  });
  for (const gone of removed) {
    if (!before.some((port) => port.target === gone.target && port.protocol === gone.protocol)) {
      throw new ClusterError('invalid', `the service publishes no port ${gone.target}/${gone.protocol}`, {
        field: '--publish-rm',
      });
    }
  }
  const same = (a: Port, b: Port) => a.protocol === b.protocol && a.target === b.target;
  const replaces = (a: Port, b: Port) => a.protocol === b.protocol && a.published === b.published && a.published !== 0;
  const kept = before.filter(
    (port) => !removed.some((gone) => same(gone, port)) && !added.some((one) => replaces(one, port)),
  );
  return [...kept, ...added];
}
