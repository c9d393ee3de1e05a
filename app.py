"""PrivLab in a browser: `streamlit run app.py`.

The pages are registered by the main script inside the package, not here: a `pages/` folder beside the script that calls
`st.navigation` breaks deep links on a fresh server.
"""

import streamlit as st

from privlab.ui.server import MAIN, ROUTES, lifespan

app = st.App(MAIN, routes=ROUTES, lifespan=lifespan)
