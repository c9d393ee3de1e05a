"""Points to Plotly figures and to specifications of the live panel: pure functions, torch-free and without Streamlit."""
