export default async (component) => (await import(new URL(component.data.module, location.origin))).mount(component);
