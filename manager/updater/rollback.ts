/** The way back: what a service is after a rollback, by hand or automatic. */
import type { Instant } from '../../common/model/ids.ts';
import type { Service } from '../../common/model/service.ts';

/**
 * The service with its spec and its previous one changed places; undefined when there is nothing to go back to.
 *
 * Nothing is erased (docs/adr/0004): a rollback of the rollback goes forward again. The number of replicas stays: scaling makes
 * no revision, so the previous spec may be older than it, and undoing an image must not undo a capacity that came later.
 * Control and the updater share this.
 */
export function rolledBack(service: Service, now: Instant): Service | undefined {
  if (service.previous === undefined) return undefined;
  return {
    ...service,
    spec: { ...service.previous.spec, mode: service.spec.mode },
    revision: service.previous.revision,
    previous: { spec: service.spec, revision: service.revision },
    rolledBack: true,
    updatedAt: now,
  };
}
