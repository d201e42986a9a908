/** create, update, scale, rollback, rm: each sends one change and waits, unless detached, until the cluster is there. */
import { ClusterError } from '../../common/errors.ts';
import type { ServiceSpec } from '../../common/model/service.ts';
import { parseDuration } from '../../common/units.ts';
import { fromServiceSpec, toServiceSpec } from '../../common/wire/service.ts';
import type { covey } from '../../proto/messages.ts';
import { bringImage } from '../bring-image.ts';
import { brief, type ControlClient, withCluster } from '../client.ts';
import { EXIT } from '../exit.ts';
import { wishOfCreate, wishOfUpdate } from '../flags/resolve-image.ts';
import { createSpec, type Given, updatedSpec } from '../flags/service-edits.ts';
import { wholeNumber } from '../flags/values.ts';
import { follow } from '../progress.ts';

type View = covey.v1.ServiceView;

/** `service create`. */
export async function createService(image: string, args: readonly string[], given: Given): Promise<void> {
  const spec = createSpec(image, args, given, process.env);
  warnOfPrivileges(spec, given);
  await withCluster(async (control) => {
    if (wishOfCreate(image, given).asks) await bringImage(control, image, { quiet: given.quiet === true });
    const view = await control.createService({ spec: toServiceSpec(spec) }, brief());
    process.stdout.write(`${idOf(view)}\n`);
    await settle(control, view, given);
  });
}

/** `service update`. */
export async function updateService(ref: string, given: Given): Promise<void> {
  await withCluster(async (control) => {
    const before = await control.getService({ ref }, brief());
    if (given.rollback === true) {
      refuseOthers(given);
      return settle(
        control,
        await control.rollbackService({ id: idOf(before), version: before.version }, brief()),
        given,
      );
    }
    const current = fromServiceSpec(before.service?.spec ?? {});
    const { image, asks } = wishOfUpdate(current.template.container.image, given);
    const spec = updatedSpec(current, { ...given, image }, process.env);
    warnOfPrivileges(spec, given);
    if (asks && image !== undefined) await bringImage(control, image, { quiet: given.quiet === true });
    const view = await control.updateService(
      { id: idOf(before), version: before.version, spec: toServiceSpec(spec) },
      brief(),
    );
    process.stdout.write(`${ref}\n`);
    await settle(control, view, given);
  });
}

/** On stderr, so that what scripts read stays the id. */
function warnOfPrivileges(spec: ServiceSpec, given: Given): void {
  if (given.privileged === undefined || spec.template.container.process?.privileged !== true) return;
  process.stderr.write(
    'warning: --privileged gives the containers every capability and device and no system call filter; ' +
      'whoever gets into one has the host. --cap-add gives less\n',
  );
}

/** `service scale`: all are changed first, then waited for in turn. */
export async function scaleServices(pairs: readonly string[], given: Given): Promise<void> {
  const wanted = pairs.map((pair) => {
    const at = pair.lastIndexOf('=');
    if (at < 1) throw new ClusterError('invalid', `"${pair}" is not SERVICE=REPLICAS`, { field: '--replicas' });
    return { ref: pair.slice(0, at), replicas: wholeNumber(pair.slice(at + 1), '--replicas') };
  });
  await withCluster(async (control) => {
    const views: View[] = [];
    for (const { ref, replicas } of wanted) {
      const before = await control.getService({ ref }, brief());
      const spec = fromServiceSpec(before.service?.spec ?? {});
      const scaled = toServiceSpec({ ...spec, mode: { kind: 'replicated', replicas } });
      views.push(await control.updateService({ id: idOf(before), version: before.version, spec: scaled }, brief()));
      process.stdout.write(`${ref} scaled to ${replicas}\n`);
    }
    for (const view of views) await settle(control, view, given);
  });
}

/** `service rollback`. */
export async function rollbackService(ref: string, given: Given): Promise<void> {
  await withCluster(async (control) => {
    const before = await control.getService({ ref }, brief());
    const view = await control.rollbackService({ id: idOf(before), version: before.version }, brief());
    process.stdout.write(`${ref}\n`);
    await settle(control, view, given);
  });
}

/** `service rm`: all that exist are removed; the exit code tells of those that did not. */
export async function removeServices(refs: readonly string[]): Promise<void> {
  await withCluster(async (control) => {
    for (const ref of refs) {
      try {
        await control.removeService({ ref }, brief());
        process.stdout.write(`${ref}\n`);
      } catch (error) {
        if (!(error instanceof ClusterError) || error.code !== 'not_found') throw error;
        process.stderr.write(`covey: ${error.message}\n`);
        process.exitCode = EXIT.error;
      }
    }
  });
}

async function settle(control: ControlClient, view: View, given: Given): Promise<void> {
  for (const warning of view.warnings) process.stderr.write(`warning: ${warning}\n`);
  if (given.detach === true) return;
  const timeout = given.timeout;
  const code = await follow(
    control,
    { id: idOf(view), name: view.service?.spec?.name ?? '', version: view.version },
    {
      quiet: given.quiet === true,
      ...(typeof timeout === 'string' ? { timeoutMs: parseDuration(timeout, '--timeout') } : {}),
    },
  );
  if (code !== EXIT.done) process.exitCode = code;
}

function idOf(view: View): string {
  return view.service?.id ?? '';
}

function refuseOthers(given: Given): void {
  const allowed = new Set(['rollback', 'detach', 'quiet', 'timeout', 'healthcheck']);
  const other = Object.keys(given).find((key) => !allowed.has(key));
  if (other === undefined) return;
  throw new ClusterError('invalid', `cannot be combined with other changes (${other})`, { field: '--rollback' });
}
