import { expect, it } from 'vitest';
import { rolledBack } from '../../../../manager/updater/rollback.ts';
import { cluster } from '../../../support/cluster-builder.ts';

const updated = () => cluster().service('web', { replicas: 3 }).update('web', { image: 'ok:2' });

it('changes places of the spec and the one before, and remembers that it did', () => {
  const service = updated().get('service', 'web');
  const back = rolledBack(service, 9);
  expect(back).toMatchObject({ revision: 1, lastRevision: 2, rolledBack: true, updatedAt: 9 });
  expect(back?.spec.template.container.image).toBe('ok:1');
  expect(back?.previous).toEqual({ spec: service.spec, revision: 2 });
});

it('goes forward again when it is done twice', () => {
  const service = updated().get('service', 'web');
  const back = rolledBack(service, 0);
  expect(back === undefined ? undefined : rolledBack(back, 0)).toEqual({ ...service, rolledBack: true });
});

it('does not undo a scaling that came after the update', () => {
  const service = updated().scale('web', 20).get('service', 'web');
  expect(rolledBack(service, 0)?.spec.mode.replicas).toBe(20);
});

it('is impossible for a service that was never updated', () => {
  expect(rolledBack(cluster().service('web').get('service', 'web'), 0)).toBeUndefined();
});
