/** Whether a registry takes a login. Source: distribution-spec 1.1, "Determining Support"; docker login. */
import { Endpoint, type RegistryOptions } from './endpoint.ts';

/**
 * Resolves when it does. A registry that lets everybody in takes any.
 *
 * @throws ClusterError `denied` when it does not, `invalid` when it is no registry, `unavailable`
 */
export async function proveLogin(options: RegistryOptions, signal: AbortSignal): Promise<void> {
  const endpoint = new Endpoint(options);
  try {
    await endpoint.patiently(async () => {
      const answer = await endpoint.ask({ method: 'GET', path: '', scopes: [] }, signal);
      if (answer.status !== 200) throw await endpoint.refusal(answer, '/v2/', signal);
      await answer.body.dump();
    }, signal);
  } finally {
    await endpoint.close();
  }
}
