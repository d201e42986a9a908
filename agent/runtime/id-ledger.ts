/** Who holds which range of ids on this host. What counts is what the containers' notes say; this is read once, then kept. */
import { ClusterError } from '../../common/errors.ts';
import type { ContainerTemplate } from '../../common/model/service.ts';
import type { LayerAddon } from '../../native/layer.ts';
import { ContainerFolder, folderIds } from './container-folder.ts';
import { DEFAULT_POOL, freeRange, type IdRange, RANGE_SIZE } from './id-ranges.ts';
import type { UserNamespaces } from './user-namespaces.ts';

export class IdLedger {
  readonly #stateDir: string;
  readonly #addon: LayerAddon;
  readonly #userns: UserNamespaces;
  #held: Promise<Map<string, IdRange>> | undefined;

  constructor(stateDir: string, addon: LayerAddon, userns: UserNamespaces = { pool: DEFAULT_POOL }) {
    this.#stateDir = stateDir;
    this.#addon = addon;
    this.#userns = userns;
  }

  /**
   * The lowest range that no container holds, held by `id` from now on; nothing for a template that wants the host's ids, or
   * is privileged, which a user namespace would make an empty word.
   * @throws ClusterError `exhausted` when there is none, `invalid` when this host has no user namespaces, `exists` when a
   *         container of that id is on disk
   */
  async take(id: string, template: ContainerTemplate): Promise<{ readonly ids?: IdRange }> {
    if (template.userns === 'host' || template.process?.privileged === true) return {};
    const { pool, unfit } = this.#userns;
    if (unfit !== undefined) {
      throw new ClusterError('invalid', `container ${id} cannot have a user namespace on this host: ${unfit}`, {
        hint: 'place the service on other nodes, or say --userns host: its root is then the root of the host',
      });
    }
    this.#held ??= this.#read();
    const held = await this.#held;
    if (held.has(id)) throw new ClusterError('exists', `container ${id} exists already`);
    const range = freeRange(pool, [...held.values()]);
    if (range === undefined) {
      throw new ClusterError(
        'exhausted',
        `all ${pool.count} ranges of user ids from ${pool.base} on are held by containers`,
        {
          hint: `remove containers, or give covey-agent more ids with user-ids, ${RANGE_SIZE} for each container`,
        },
      );
    }
    held.set(id, range);
    return { ids: range };
  }

  /** Once nothing of the container is left. Idempotent. */
  async free(id: string): Promise<void> {
    (await this.#held)?.delete(id);
  }

  async #read(): Promise<Map<string, IdRange>> {
    const held = new Map<string, IdRange>();
    for (const id of await folderIds(this.#stateDir, this.#addon)) {
      const note = await new ContainerFolder(this.#stateDir, id).note();
      if (note?.ids !== undefined) held.set(id, note.ids);
    }
    return held;
  }
}
