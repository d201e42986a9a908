/** A service's progress as a stream: the whole picture at once and after each change, until its verdict settles. */
import { ClusterError } from '../../common/errors.ts';
import { Queue } from '../../common/iterate.ts';
import type { ServiceId } from '../../common/model/ids.ts';
import { isSame } from '../orchestrator/dirty.ts';
import { type Context, caughtUp } from './context.ts';
import { type ServiceProgress, serviceProgress } from './progress.ts';

/** Pictures are at least so far apart: a screen shows no more, and explaining refusals costs a look at every node. */
export const PICTURE_GAP_MS = 50;

/**
 * Pictures from `version` on. The last one has a verdict other than `waiting`.
 * @throws ClusterError `not_found` when there is no such service and never was one at that version
 */
export async function* watchProgress(
  context: Context,
  request: { readonly id: string; readonly version: number },
  signal: AbortSignal,
): AsyncIterable<ServiceProgress> {
  const { store, clock } = context;
  const id = request.id as ServiceId;
  await caughtUp(context, request.version, signal);
  const first = store.view.get('service', id);
  if (first === undefined && request.version === 0) {
    throw new ClusterError('not_found', `service "${id}" is not in the cluster`);
  }
  // Who asked at the version of a rollback wanted it; a rollback that comes later is the failure of what was wanted.
  const byUser = first?.value.rolledBack === true && (request.version === 0 || first.rev === request.version);
  const stop = new AbortController();
  const ending = AbortSignal.any([signal, stop.signal]);
  const wake = new Queue<'look'>(1, ending);
  follow(context, wake, ending);
  let cancel = (): void => {};
  let last: ServiceProgress | undefined;
  try {
    wake.push('look');
    for await (const _ of wake) {
      cancel();
      const picture = serviceProgress(store.view, id, clock.now(), { byUser });
      if (last === undefined || !isSame(picture, last)) yield picture;
      if (picture.verdict !== 'waiting') return;
      last = picture;
      if (picture.wakeAt !== undefined) cancel = clock.after(picture.wakeAt - clock.now(), () => wake.push('look'));
      await clock.sleep(PICTURE_GAP_MS, ending);
    }
  } finally {
    cancel();
    stop.abort();
  }
  signal.throwIfAborted();
}

function follow({ store }: Context, wake: Queue<'look'>, signal: AbortSignal): void {
  const changes = store.changes(signal);
  const pump = async (): Promise<void> => {
    for await (const _ of changes) wake.push('look');
  };
  pump().then(
    () => wake.end(),
    (cause: unknown) => wake.fail(cause),
  );
}
