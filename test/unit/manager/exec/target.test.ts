import { describe, expect, it } from 'vitest';
import { execTarget } from '../../../../manager/exec/target.ts';
import { cluster } from '../../../support/cluster-builder.ts';

const running = { status: { state: 'running' } } as const;
const ended = { status: { state: 'complete' } } as const;
// Named otherwise than its tasks' ids begin, which are prefixes that would match too.
const web = () => cluster(2).service('web', { replicas: 2 }).put('name', 'service/site', { name: 'site', id: 'web' });

describe('the task of a command', () => {
  it('is found by slot, by id and by full name, on its node', () => {
    const world = web()
      .task('web.1', { node: 'n1', ...running })
      .task('web.2', { node: 'n2', ...running });
    const { view } = world.store;
    const bySlot = execTarget(view, 'site.2');
    expect(bySlot).toMatchObject({ nodeId: 'n2' });
    const place = { taskId: bySlot.taskId, nodeId: bySlot.nodeId, nodeName: bySlot.nodeName };
    expect(execTarget(view, 'SITE.2')).toMatchObject(place);
    expect(execTarget(view, bySlot.taskId)).toMatchObject(place);
    expect(execTarget(view, `web.2.${bySlot.taskId}`)).toMatchObject(place);
  });

  it('in a slot is the one that runs', () => {
    const { view } = web()
      .task('web.1', { node: 'n1', ...ended })
      .task('web.1#2', { node: 'n2', ...running }).store;
    expect(execTarget(view, 'site.1')).toMatchObject({ nodeId: 'n2' });
  });

  it('takes commands before it is ready', () => {
    const { view } = web().task('web.1', { node: 'n1', status: { state: 'starting' } }).store;
    expect(execTarget(view, 'site.1')).toMatchObject({ nodeId: 'n1' });
  });

  it('is refused by name when it is not there, means several, or does not run', () => {
    const { view } = web()
      .task('web.1', { node: 'n1', ...running })
      .task('web.1#2', { node: 'n2', ...running })
      .task('web.2', { node: 'n2', ...ended }).store;
    expect(() => execTarget(view, 'api.1')).toThrow('task "api.1" is not in the cluster');
    expect(() => execTarget(view, 'site.3')).toThrow('task "site.3" is not in the cluster');
    expect(() => execTarget(view, 'site')).toThrow('task "site" is not in the cluster');
    expect(() => execTarget(view, 'site.1')).toThrow('"site.1" matches several tasks');
    expect(() => execTarget(view, 'site.2')).toThrow('task "site.2" does not run but is complete');
  });
});
